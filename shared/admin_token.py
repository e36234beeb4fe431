"""The secret that the admin API asks for, and the metrics port: what is one, and how it is read."""

from __future__ import annotations

from pathlib import Path

from shared.secret_file import read_secret

MIN_TOKEN = 16
"""Characters of a token: fewer can be guessed."""
MAX_TOKEN = 1024


def read_admin_token(where: str, path: Path) -> str:
    """Return the token in a file. Raises ConfigError, which never holds any of it."""
    return read_secret(where, path, MIN_TOKEN, MAX_TOKEN, "; make one with: openssl rand -hex 32")
