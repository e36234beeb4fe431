"""Waiting for a state in asynchronous tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; the test's time limit ends a wait for what never comes."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what tests wait for tells nobody when it comes
            await asyncio.sleep(0.005)
