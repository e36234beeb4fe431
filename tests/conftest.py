"""What holds for all tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("routerctl", deadline=None)
settings.load_profile("routerctl")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short: those of sockets may have 107 bytes, and pytest's folders use up most of them."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        yield Path(folder)
