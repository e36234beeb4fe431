"""A port's token: read from a file, so that it is in no command line, environment or log."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

from shared.admin_token import read_admin_token
from shared.config import ConfigError

log = logging.getLogger(__name__)


class TokenFile:
    """Compares with what the file holds at each moment, so that it may be replaced while the router runs."""

    def __init__(self, path: str, flag: str = "--admin-token-file") -> None:
        """`flag` names the file."""
        self._path = Path(path)
        self._flag = flag

    def matches(self, authorization: str) -> bool:
        """Whether an `Authorization` field brings the token. Nobody gets in while the file can not be read."""
        try:
            token = read_admin_token(self._flag, self._path)
        except ConfigError as error:
            log.error("everybody is refused who has to bring this token: %s", error)
            return False
        scheme, _, given = authorization.partition(" ")
        is_same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
        return is_same and scheme.lower() == "bearer"
