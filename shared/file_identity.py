"""How to see that a file was replaced."""

from __future__ import annotations

import os


def file_identity(path: str) -> tuple[int, ...] | None:
    """Return what is different when a file was replaced or written to; None when it can not be looked at."""
    try:
        # Follows links: Kubernetes replaces a mounted secret by turning one.
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
