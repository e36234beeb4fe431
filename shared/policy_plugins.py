"""Policies that others have written: found by the name that their package gave them, or as `module:Class`.

A package names its policy in the entry point group `routerctl.policies`. `module:Class` needs the module to be
importable by the router's processes (installed, or in a folder of PYTHONPATH; not the present folder).
"""

from __future__ import annotations

import importlib
import re
from importlib.metadata import entry_points
from typing import Any

GROUP = "routerctl.policies"
MODULE_AND_CLASS = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"


class PluginError(Exception):
    """A name that leads to no policy. The message says what was looked for, and what to do."""


def plugin_names() -> tuple[str, ...]:
    """Return the names that installed packages give their policies."""
    return tuple(sorted(entry_points(group=GROUP).names))


def load_policy_class(name: str) -> type[Any]:
    """Import the class behind a name. Raises PluginError; whether it is a policy is the plane's to judge."""
    if re.fullmatch(MODULE_AND_CLASS, name):
        module, _, attribute = name.partition(":")
    else:
        found = list(entry_points(group=GROUP, name=name))
        if not found:
            raise PluginError(f"no policy is called {name!r}")
        module, attribute = found[0].module, found[0].attr
    try:
        loaded: object = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        # Whatever somebody else's module may raise while it is imported.
        raise PluginError(
            f"policy {name!r} can not be imported ({type(error).__name__}: {error}); install its package, or put "
            "its folder into PYTHONPATH"
        ) from error
    if not isinstance(loaded, type) or not callable(getattr(loaded, "pick", None)):
        raise PluginError(f"policy {name!r} is no class with a method `pick`; derive it from dataplane.policies.Policy")
    return loaded
