"""The key that workers ask for (vLLM's `--api-key`): read from a file, and read again when the file was replaced.

It goes with every request to a worker: clients' in place of what they sent, health checks, readings, model lists. Only
the file's path is in the configuration and in the table.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from shared.config import ConfigError
from shared.file_identity import file_identity
from shared.secret_file import is_secret, read_secret

MAX_KEY = 4096
"""Characters; a JSON web token with many claims has 2,000."""

CHECK_INTERVAL = 1.0
"""Seconds between looks whether the file was replaced."""

log = logging.getLogger(__name__)


def read_worker_key(where: str, path: Path) -> str:
    """Return the key in a file. Raises ConfigError, which never holds any of it."""
    return read_secret(where, path, 1, MAX_KEY, ": the key that workers ask for")


def check_worker_key(where: str, key: str) -> None:
    """Raise ConfigError, which never holds any of it, unless that can be a key."""
    if not is_secret(key.encode("utf-8", "surrogateescape"), 1, MAX_KEY):
        raise ConfigError(f"{where} must be 1 to {MAX_KEY} printable ASCII characters without a blank")


class WorkerKey:
    """The present key."""

    def __init__(
        self,
        path: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        told: Mapping[str, object] | None = None,
    ) -> None:
        """Read it from the file at `path`; None: workers ask for none.

        `clock` gives monotonic seconds, `told` is the `extra` of lines of the log.
        """
        self._clock = clock
        self._told = told
        self._authorization: str | None = None
        self._path: str | None = None
        self._seen: tuple[int, ...] | None = None
        self._problem = ""
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
            if file_identity(self._path) != self._seen:
                self._read(self._path)
        return self._authorization

    def missing(self) -> str:
        """Return why there is no key where there should be one; empty when there is, or workers ask for none."""
        return self._problem if self.authorization == "" else ""

    def use(self, path: str | None) -> None:
        """Read the key from another file from now on; None: workers ask for none."""
        if path == self._path:
            return
        self._path = path
        self._authorization, self._problem = None, ""
        if path is not None:
            self._authorization = ""
            self._checked = self._clock()
            self._read(path)

    def _read(self, path: str) -> None:
        # Looked at before it is read: what is replaced in between looks different the next time.
        self._seen = file_identity(path)
        try:
            key = read_worker_key("--api-key-file", Path(path))
        except ConfigError as error:
            self._problem = str(error)
            effect = "the key before stays in use" if self._authorization else "there is no key for workers until then"
            log.error("%s; %s", error, effect, extra=self._told)
            return
        authorization = f"Bearer {key}"
        if self._authorization and authorization != self._authorization:
            log.info("the workers' key has changed and is in use", extra=self._told)
        elif self._problem:
            log.info("--api-key-file %s can be read again", path, extra=self._told)
        self._authorization, self._problem = authorization, ""
