"""The key files of whoever connects to another host: its own pair, and the public keys to expect there, by turns."""

from __future__ import annotations

import logging
from pathlib import Path

from shared.plane_keys import KeyFileError, read_pair, read_publics, signature
from shared.sockets import ClientKeys

log = logging.getLogger(__name__)


class ClientKeyFiles:
    """Reads the files again when they change. A CURVE client expects one key per socket, so several take turns."""

    def __init__(self, own: Path, servers: Path) -> None:
        """`own` is a secret key's file; `servers` a public key's, or a folder of several."""
        self._own, self._servers = own, servers
        self._seen: object = None
        self._keys: tuple[ClientKeys, ...] = ()
        self._turn = 0

    @property
    def keys(self) -> ClientKeys | None:
        """The keys whose turn it is; None until any could be read."""
        return self._keys[self._turn % len(self._keys)] if self._keys else None

    def turn(self) -> None:
        """Go on to the next of the other side's keys."""
        self._turn += 1

    def read(self) -> bool:
        """Read the files if they have changed; return whether there are other keys now. What is wrong is logged."""
        seen = signature((self._own, self._servers))
        if seen == self._seen:
            return False
        self._seen, before = seen, self.keys
        try:
            pair = read_pair(self._own)
            self._keys = tuple(ClientKeys(pair, server) for server in read_publics(self._servers))
        except KeyFileError as error:
            log.error("%s%s", error, "; the keys before are used on" if before else "")
        # A key more for later is no reason to leave the one that works.
        if before is None or before not in self._keys:
            self._turn = 0
            return bool(self._keys)
        self._turn = self._keys.index(before)
        return False
