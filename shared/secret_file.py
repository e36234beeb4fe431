"""Reading a secret that stands in a file of its own."""

from __future__ import annotations

import re
from pathlib import Path

from shared.config import ConfigError


def read_secret(where: str, path: Path, least: int, most: int, hint: str) -> str:
    """Return the secret in a file: one line of `least` to `most` characters, and how to get one is the `hint`.

    Raises ConfigError, which never holds any of it.
    """
    try:
        with path.open("rb") as file:
            secret = file.read(most + 2).strip()
    except OSError as error:
        raise ConfigError(f"{where} {path}: {error.strerror}; give the path of a readable file") from None
    if not is_secret(secret, least, most):
        raise ConfigError(
            f"{where} {path} must hold one line of {least} to {most} printable ASCII characters without a blank{hint}"
        )
    return secret.decode()


def is_secret(secret: bytes, least: int, most: int) -> bool:
    """Whether these are `least` to `most` printable ASCII characters without a blank."""
    return least <= len(secret) <= most and re.fullmatch(rb"[!-~]+", secret) is not None
