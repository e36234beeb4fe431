"""Changing the file of clients' keys: each change whole, and one at a time."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from shared.client_key_list import KeyEntry, entry_faults, file_text, list_fault, read_entries
from shared.client_keys import MAX_NAME
from shared.config import ConfigError

Entries = tuple[KeyEntry, ...]
_WHERE = "file of clients' keys"


def added(entries: Entries, entry: KeyEntry) -> Entries:
    """Return them with one more. Raises ConfigError when there is one of its name."""
    if any(one.name == entry.name for one in entries):
        raise ConfigError(
            f"there is a key called {entry.name}; choose another name, or replace that one with: "
            f"routerctl keys client rotate {entry.name}"
        )
    return (*entries, entry)


def removed(entries: Entries, name: str) -> Entries:
    """Return them without those of a name. Raises ConfigError when there is none."""
    left = tuple(entry for entry in entries if entry.name != name)
    if len(left) == len(entries):
        raise ConfigError(f"there is no key called {name}; `routerctl keys client list` shows all")
    return left


def rotated(entries: Entries, name: str, sha256: str, *, created: datetime, until: datetime | None) -> Entries:
    """Return them with a new one of a name, the last; of the old ones the newest ends at `until`, or is gone (None).

    Raises ConfigError when there is none.
    """
    rest = removed(entries, name)
    newest = [entry for entry in entries if entry.name == name][-1]
    if until is not None:
        ends = until if newest.expires is None else min(until, newest.expires)
        rest = (*rest, msgspec.structs.replace(newest, expires=ends))
    return (*rest, msgspec.structs.replace(newest, sha256=sha256, created=created))


class KeysFile:
    """One file."""

    def __init__(self, path: Path) -> None:
        # A link stays one.
        self.path = path.resolve()

    def read(self) -> Entries:
        """Return what it holds. Raises ConfigError."""
        return read_entries(_WHERE, self.path)

    def add(self, entry: KeyEntry) -> None:
        """Add a key; make the file when there is none. Raises ConfigError."""
        self._change(lambda entries: added(entries, entry), may_be_new=True)

    def remove(self, name: str) -> int:
        """Take the keys of a name out; return how many. Raises ConfigError."""
        before = self._change(lambda entries: removed(entries, name))
        return sum(entry.name == name for entry in before)

    def rotate(self, name: str, sha256: str, *, created: datetime, until: datetime | None) -> KeyEntry:
        """Put a new key beside the one of that name; return it. Raises ConfigError."""
        self._change(lambda entries: rotated(entries, name, sha256, created=created, until=until))
        return self.read()[-1]

    def _change(self, change: Callable[[Entries], Entries], *, may_be_new: bool = False) -> Entries:
        """Return what was there before."""
        try:
            # Of the folder, as the file is another one after each change.
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                before = () if may_be_new and not self.path.exists() else self.read()
                now = change(before)
                self._check(now)
                self._write(file_text(now))
            finally:
                os.close(folder)
        except OSError as error:
            where = error.filename or self.path
            raise ConfigError(f"{where}: {error.strerror}; give a file that this user may write, with --file") from None
        return before

    def _check(self, entries: Entries) -> None:
        for entry in entries:
            for _, fault in entry_faults(entry):
                raise ConfigError(f"the key {entry.name[:MAX_NAME]} {fault}")
        if together := list_fault(entries):
            raise ConfigError(together)

    def _write(self, text: str) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                if self.path.exists():
                    # The router may run as another user than the operator.
                    info = self.path.stat()
                    os.fchmod(file.fileno(), stat.S_IMODE(info.st_mode))
                    with suppress(PermissionError):
                        os.fchown(file.fileno(), info.st_uid, info.st_gid)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise
