"""What others have written for the router: found by the name that their package gave it, or as `module:Class`.

A package names it in the kind's entry point group. `module:Class` needs the module to be importable by the router's
processes (installed, or in a folder of PYTHONPATH; not the present folder).
"""

from __future__ import annotations

import importlib
import re
from importlib.metadata import entry_points
from typing import Any, NamedTuple

MODULE_AND_CLASS = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"


class PluginError(Exception):
    """A name that leads to nothing that can be used. The message says what was looked for, and what to do."""


class Kind(NamedTuple):
    """One kind of plugin: what it is called, its entry point group, a method it must have, what to derive it from."""

    noun: str
    group: str
    method: str
    base: str

    def names(self) -> tuple[str, ...]:
        """Return the names that installed packages give."""
        return tuple(sorted(entry_points(group=self.group).names))

    def load(self, name: str) -> type[Any]:
        """Import the class behind a name. Raises PluginError; whether it is of the kind is the plane's to judge."""
        if re.fullmatch(MODULE_AND_CLASS, name):
            module, _, attribute = name.partition(":")
        else:
            found = list(entry_points(group=self.group, name=name))
            if not found:
                raise PluginError(f"no {self.noun} is called {name!r}")
            module, attribute = found[0].module, found[0].attr
        try:
            loaded: object = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            # Whatever somebody else's module may raise while it is imported.
            raise PluginError(
                f"{self.noun} {name!r} can not be imported ({type(error).__name__}: {error}); install its package, or "
                "put its folder into PYTHONPATH"
            ) from error
        if not isinstance(loaded, type) or not callable(getattr(loaded, self.method, None)):
            text = f"{self.noun} {name!r} is no class with a method `{self.method}`; derive it from {self.base}"
            raise PluginError(text)
        return loaded
