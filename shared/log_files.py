"""A log file that several processes write to and that is rotated when it is large."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 64 * 1024 * 1024
"""Of one file: a day of a small router, half an hour of a line for each of 100 requests a second and plane."""
KEPT = 5
"""Files that are kept beside the one that is written: NAME.1 is the newest. So a log takes 384 MiB at most."""

_END = ord("\n")


class LogFile:
    """Appends whole lines; who finds it too large rotates it, and the others notice that it is another file now."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES, kept: int = KEPT) -> None:
        """Describe the file; its folder is made when something is written."""
        self._path = path
        self._most_bytes = most_bytes
        self._kept = kept
        self._descriptor: int | None = None
        self._is_torn = False

    def write(self, lines: bytes) -> None:
        """Append whole lines; what of a line came onto a full disk before is ended first. Raises OSError."""
        descriptor = self._current()
        if self._is_torn:
            lines = b"\n" + lines
        if os.fstat(descriptor).st_size + len(lines) > self._most_bytes:
            self._rotate(descriptor)
            descriptor = self._current()
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            written = len(lines) - len(rest)
            self._is_torn = lines[written - 1] != _END if written else self._is_torn

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _current(self) -> int:
        if self._descriptor is not None and not _is_at(self._path, self._descriptor):
            self.close()
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            # Ids, addresses and, if asked for, prompts are nobody else's business.
            self._descriptor = os.open(self._path, flags, 0o640)
            self._is_torn = False
        return self._descriptor

    def _rotate(self, descriptor: int) -> None:
        # Not the folder's: a router's processes hold that of their own for as long as they live.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            # Another process may have rotated it while we waited.
            if _is_at(self._path, descriptor):
                for number in range(self._kept - 1, 0, -1):
                    with suppress(FileNotFoundError):
                        os.replace(self._numbered(number), self._numbered(number + 1))
                os.replace(self._path, self._numbered(1))
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
