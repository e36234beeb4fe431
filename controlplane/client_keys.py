"""Clients' keys in the control plane: read from their file, and read again when that was replaced.

The file is looked at four times a second, so that a key that was revoked is refused by every plane within a second. A
file that can not be used changes nothing: an editor that saves half a file must not lock everybody out. Nor must one
that was emptied: where keys were in use, a file has to say that there are none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from controlplane.events.event import about
from shared.client_key_list import read_client_keys
from shared.client_keys import ClientKey
from shared.config import ConfigError
from shared.file_identity import file_identity
from shared.table import RoutingTable

LOOK_INTERVAL = 0.25
"""Seconds between looks; one is one system call."""

log = logging.getLogger(__name__)


class ClientKeysStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the file of clients' keys on disk stands to the keys in use, of which there are `keys`.

    `problem` says why a refused file is not used; it is empty of one in use.
    """

    file: str
    state: Literal["in use", "refused"]
    keys: int
    problem: str = ""


class ClientKeys:
    """The present keys."""

    def __init__(self, path: str | None, earlier: RoutingTable | None = None) -> None:
        """Read the file at `path`; None: nobody is asked for a key.

        Those of an `earlier` control plane's table count where the file can not be read now.
        """
        self._path: str | None = None
        self._seen: tuple[int, ...] | None = None
        self._problem = ""
        self.present: tuple[ClientKey, ...] | None = None
        """None: nobody is asked for a key."""
        self._use(path, (earlier.settings.client_keys if earlier is not None else None) or ())

    def use(self, path: str | None) -> None:
        """Go by another file from now on."""
        if path != self._path:
            self._use(path, self.present or ())

    def _use(self, path: str | None, earlier: tuple[ClientKey, ...]) -> None:
        self._path = path
        self.present = None
        if path is not None:
            self.present = earlier
            self._read(path)

    def status(self) -> ClientKeysStatus | None:
        """Return what is in use, and why not what the file holds; None where nobody is asked for a key."""
        if self._path is None:
            return None
        state: Literal["in use", "refused"] = "refused" if self._problem else "in use"
        return ClientKeysStatus(file=self._path, state=state, keys=len(self.present or ()), problem=self._problem)

    async def run(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever there are other keys, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if self.look():
                changed()

    def look(self) -> bool:
        """Read the file if it was replaced; return whether there are other keys now."""
        path = self._path
        return path is not None and file_identity(path) != self._seen and self._read(path)

    def _read(self, path: str) -> bool:
        # Looked at before it is read: what is replaced in between looks different the next time.
        self._seen = file_identity(path)
        before = self.present
        try:
            self.present = read_client_keys("--client-keys-file", Path(path), must_say_keys=bool(before))
        except ConfigError as error:
            self._problem = str(error)
            log.error("%s; the keys before stay in use", error, extra=about("configuration"))
            return False
        if self._problem:
            self._problem = ""
            log.info("--client-keys-file %s is in use again", path, extra=about("configuration"))
        if self.present == before:
            return False
        for level, text in _differences(before or (), self.present):
            log.log(level, "%s", text, extra=about("configuration"))
        return True


def _differences(before: tuple[ClientKey, ...], now: tuple[ClientKey, ...]) -> list[tuple[int, str]]:
    """Return what to log of a change, and at which level; names only.

    A file that was cut between two keys looks like one whose last keys were revoked: so that is a warning.
    """
    known, present = {key.name for key in before}, {key.name for key in now}
    said = (
        (logging.INFO, "are new and in use from now on", present - known),
        (logging.INFO, "have changed", {key.name for key in {*before} ^ {*now}} & known & present),
        (logging.WARNING, "are refused from now on", known - present),
    )
    return [
        (level, f"clients' keys of these names {what}: {_list(sorted(names))}") for level, what, names in said if names
    ]


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
