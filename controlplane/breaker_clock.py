"""Has the fleet's breakers do what time makes due."""

from __future__ import annotations

import asyncio

from controlplane.breaker import Breakers
from controlplane.planes import Planes
from shared.clock import Clock


async def turn_breakers(breakers: Breakers, moved: asyncio.Event, planes: Planes, clock: Clock) -> None:
    """Go on until cancelled; `moved` is set whenever a breaker has changed otherwise."""
    while True:
        moved.clear()
        now = clock.monotonic()
        breakers.tick({plane.identity.id for plane in planes.present()}, now=now)
        due = breakers.due()
        # A plane that holds a probe may die before its time is up.
        pause = None if due is None else min(1.0, max(0.01, due - now))
        try:
            async with asyncio.timeout(pause):
                await moved.wait()
        except TimeoutError:
            continue
