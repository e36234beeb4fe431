"""What holds for all tests."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx._transports import default as httpx_transports
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("routerctl", deadline=None)
settings.load_profile("routerctl")

# A thousand processes are started: each would compile the sources anew, which is half of what its start costs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@cache
def _default_context(trust_env: bool) -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=trust_env)


def _ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is True and cert is None:
        return _default_context(trust_env)
    return httpx.create_ssl_context(verify, cert, trust_env)


# Each `httpx.get` makes a client, and each client would read all authorities of the web: 20 ms of CPU. Tests ask
# again and again until a state comes, and would keep the processes that they wait for from running.
httpx_transports.create_ssl_context = _ssl_context  # type: ignore[attr-defined]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short: those of sockets may have 107 bytes, and pytest's folders use up most of them."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        yield Path(folder)
