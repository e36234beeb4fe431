"""The key that workers ask for (vLLM's `--api-key`): read from a file, and read again when the file was replaced.

It goes with every request to a worker: clients' in place of what they sent, health checks, readings, model lists. Only
the file's path is in the configuration and in the table.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from shared.config import ConfigError

MAX_KEY = 4096
"""Characters; a JSON web token with many claims has 2,000."""

CHECK_INTERVAL = 1.0
"""Seconds between looks whether the file was replaced."""

log = logging.getLogger(__name__)


def read_worker_key(where: str, path: Path) -> str:
    """Return the key in a file. Raises ConfigError, which never holds any of it."""
    try:
        with path.open("rb") as file:
            key = file.read(MAX_KEY + 2).strip()
    except OSError as error:
        raise ConfigError(f"{where} {path}: {error.strerror}; give the path of a readable file") from None
    if not re.fullmatch(rb"[!-~]{1,%d}" % MAX_KEY, key):
        raise ConfigError(
            f"{where} {path} must hold one line of 1 to {MAX_KEY} printable ASCII characters without a blank: "
            "the key that workers ask for"
        )
    return key.decode()


class WorkerKey:
    """The present key."""

    def __init__(self, path: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Read it from the file at `path`; None: workers ask for none. `clock` gives monotonic seconds."""
        self._clock = clock
        self._authorization: str | None = None
        self._path: str | None = None
        self._seen: tuple[int, ...] | None = None
        self._checked = 0.0
        self.use(path)

    @property
    def authorization(self) -> str | None:
        """The value of the `Authorization` field, by the file as it was a second ago at most.

        None while workers ask for no key. Empty when there should be one that could never be read: nothing else may
        take its place.
        """
        if self._path is not None and self._clock() - self._checked >= CHECK_INTERVAL:
            self._checked = self._clock()
            if _identity(self._path) != self._seen:
                self._read(self._path)
        return self._authorization

    def use(self, path: str | None) -> None:
        """Read the key from another file from now on; None: workers ask for none."""
        if path == self._path:
            return
        self._path = path
        self._authorization = None
        if path is not None:
            self._authorization = ""
            self._checked = self._clock()
            self._read(path)

    def _read(self, path: str) -> None:
        # Looked at before it is read: what is replaced in between looks different the next time.
        self._seen = _identity(path)
        try:
            key = read_worker_key("--api-key-file", Path(path))
        except ConfigError as error:
            log.error("%s%s", error, "; the key before stays in use" if self._authorization else "")
            return
        if self._authorization:
            log.info("the workers' key has changed and is in use")
        self._authorization = f"Bearer {key}"


def _identity(path: str) -> tuple[int, ...] | None:
    try:
        # Follows links: Kubernetes replaces a mounted secret by turning one.
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
