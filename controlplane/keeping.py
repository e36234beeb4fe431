"""What every keeper of a process does: start it however often the system refuses, and wait after its death."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from controlplane.children import Plane
from controlplane.events.event import about
from controlplane.supervision import after_death
from controlplane.watched import Watched

T = TypeVar("T")

log = logging.getLogger("supervisor")


async def spawned(spawn: Callable[[], T], what: str) -> T:
    """Start a process, however often the system (out of memory, of processes) refuses; `what` names it in the log."""
    refusals = 0
    while True:
        try:
            return spawn()
        except OSError as error:
            restart = after_death(refusals + 1, 0.0)
            refusals = restart.deaths
            told = about("process", what)
            log.error("can not start %s: %s; trying again in %g s", what, error.strerror, restart.pause, extra=told)
            await asyncio.sleep(restart.pause)


async def mourned(watched: Watched, deaths: int) -> int:
    """Tell of a death, the one after `deaths` in a row, and wait before the next life. Returns the new count."""
    restart = after_death(deaths, watched.lifetime)
    when = f"in {restart.pause:g} s (death {restart.deaths} in a row)" if restart.pause else "now"
    told = about("process", watched.name)
    log.error(
        "%s %s after %.1f s; starting another %s", watched.name, watched.cause, watched.lifetime, when, extra=told
    )
    await asyncio.sleep(restart.pause)
    return restart.deaths


def tell_strays(planes: Iterable[Plane]) -> None:
    """Tell of planes whose records could not be read: nobody can know their settings, so they do not stay."""
    for plane in planes:
        log.warning(
            "the record of a plane that runs (pid %d) can not be read: it counts as %s, and is ended when another one "
            "serves in its place", plane.process.pid, plane, extra=about("process", plane),
        )  # fmt: skip
