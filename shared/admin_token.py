"""The secret that the admin API asks for: what is one, and how it is read."""

from __future__ import annotations

import re
from pathlib import Path

from shared.config import ConfigError

MIN_TOKEN = 16
"""Characters of the admin API's token: fewer can be guessed."""
MAX_TOKEN = 1024


def read_admin_token(where: str, path: Path) -> str:
    """Return the token in a file. Raises ConfigError, which never holds any of it."""
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN + 2).strip()
    except OSError as error:
        raise ConfigError(f"{where} {path}: {error.strerror}; give the path of a readable file") from None
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN or not re.fullmatch(rb"[!-~]+", token):
        raise ConfigError(
            f"{where} {path} must hold one line of {MIN_TOKEN} to {MAX_TOKEN} printable ASCII characters without a "
            "blank; make one with: openssl rand -hex 32"
        )
    return token.decode()
