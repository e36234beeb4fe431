"""The control plane's folder of keys as it stands now: its own pair and the public keys of those that may connect."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from shared.plane_keys import (
    PLANES,
    SERVER,
    WORKERS,
    KeyFileError,
    KeyPair,
    public_files,
    read_pair,
    read_public,
    secret_file,
    signature,
)

T = TypeVar("T")

log = logging.getLogger(__name__)


class Guests(NamedTuple):
    """Those that may connect to a port: the folder of their public keys within ours, and what a log calls them."""

    folder: str
    one: str
    many: str


PLANES_ELSEWHERE = Guests(PLANES, "a plane", "planes on other hosts")
REGISTRARS = Guests(WORKERS, "a worker", "workers that register")


class Admission(NamedTuple):
    """Who we are, and whose public keys are let in."""

    own: KeyPair
    guests: frozenset[bytes]

    def cuts_off(self, before: Admission) -> bool:
        """Whether somebody who was let in by `before` must not stay: open connections are not asked for keys again."""
        return self.own != before.own or not before.guests <= self.guests


class KeysFolder:
    """Reads the folder again whenever something in it has changed. What can not be used is logged once."""

    def __init__(self, folder: Path, guests: Guests) -> None:
        self.path = folder
        self._guests = guests
        self._seen: object = None
        self._own: KeyPair | None = None
        self._told: tuple[str, ...] = ()

    def read(self) -> Admission | None:
        """Return what the folder holds now. None: nothing has changed, or there never was a pair. Reads files.

        While our own pair can not be read, the one before it goes on to be used.
        """
        seen = signature((secret_file(self.path, SERVER), self.path / self._guests.folder))
        if seen == self._seen:
            return None
        self._seen = seen
        problems: list[str] = []
        own = _or_problem(read_pair, secret_file(self.path, SERVER), problems)
        found = [_or_problem(read_public, path, problems) for path in public_files(self.path / self._guests.folder)]
        if (told := tuple(problems)) != self._told:
            self._told = told
            for problem in problems:
                log.error("keys of %s: %s", self._guests.many, problem)
        self._own = own or self._own
        if self._own is None:
            return None
        return Admission(self._own, frozenset(key for key in found if key is not None))


def _or_problem(read: Callable[[Path], T], path: Path, problems: list[str]) -> T | None:
    try:
        return read(path)
    except KeyFileError as error:
        problems.append(str(error))
        return None
