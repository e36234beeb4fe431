"""What listeners follow: records by key, and what has changed since a listener last looked.

Nothing is queued for anybody. A listener remembers the version that it has seen, and gets what is newer at that
moment: whoever is slow gets fewer and larger steps, and costs no memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

MAX_GONE = 1024
"""Keys of which it is remembered when they went. Who looked last before the oldest of them gets everything."""


class Step(NamedTuple):
    """What leads to `version`: with `full` from nothing, otherwise from the version that was asked for."""

    version: int
    full: bool
    records: dict[str, bytes]
    gone: tuple[str, ...]


class Board:
    """The records. Versions begin at 0, where there is nothing."""

    def __init__(self) -> None:
        self.version = 0
        self._records: dict[str, tuple[int, bytes]] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()
        self._first = 0

    def update(self, records: Mapping[str, bytes]) -> None:
        """Make these all that there is; a new version, unless nothing is different."""
        version = self.version + 1
        changed = {key: (version, told) for key, told in records.items() if self._told(key) != told}
        gone = [key for key in self._records if key not in records]
        if not changed and not gone:
            return
        self.version = version
        for key in changed:
            self._gone.pop(key, None)
        self._records.update(changed)
        for key in gone:
            del self._records[key]
            self._gone[key] = version
            self._gone.move_to_end(key)
        while len(self._gone) > MAX_GONE:
            _, self._first = self._gone.popitem(last=False)

    def since(self, version: int) -> Step:
        """Return what has changed since that version."""
        full = version < self._first or version == 0
        if full:
            return Step(self.version, True, {key: told for key, (_, told) in self._records.items()}, ())
        records = {key: told for key, (changed, told) in self._records.items() if changed > version}
        gone = tuple(key for key, when in self._gone.items() if when > version)
        return Step(self.version, False, records, gone)

    def _told(self, key: str) -> bytes | None:
        found = self._records.get(key)
        return found[1] if found is not None else None
