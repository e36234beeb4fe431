"""Which code the router's processes run, where the package was replaced while the router lives.

Whatever dies is started anew from the code that is installed by then, so processes of two codes may meet. Where both
speak alike on the wire they go on. Where they do not, the older one of control plane and plane is replaced: planes one
by one by the supervisor, as in a rolling restart, the control plane by its own end, after which the supervisor starts
another one. Nobody replaces the supervisor but `routerctl start`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from controlplane.events.event import about
from controlplane.supervisor_socket import NoSupervisorError, Restarting
from shared.process import is_alive, living_planes
from shared.runtime_dir import PlaneRecord, ProcessRecord, RuntimeDir, SupervisorRecord, read_record

INTERVAL = 2.0
"""Seconds between two looks, each of which reads a small file for each plane."""

log = logging.getLogger(__name__)


class Mixture(NamedTuple):
    """Planes of another code than the control plane's: those of older code, and whether one is newer."""

    older: tuple[PlaneRecord, ...]
    is_outdated: bool


def mixture(own: ProcessRecord, planes: Iterable[PlaneRecord]) -> Mixture:
    """Compare the youngest plane of each slot with the control plane. One that has not told its code is left out."""
    youngest: dict[int, PlaneRecord] = {}
    for plane in sorted(planes, key=lambda plane: plane.identity.started):
        youngest[plane.identity.slot] = plane
    other = [plane for plane in youngest.values() if plane.identity.wire not in ("", own.wire)]
    older = (plane for plane in other if plane.identity.started < own.started)
    return Mixture(tuple(older), any(plane.identity.started >= own.started for plane in other))


class CodeWatch:
    """Has what speaks otherwise replaced."""

    def __init__(self, runtime: RuntimeDir, own: ProcessRecord, restart: Restarting, end: Callable[[], None]) -> None:
        """`restart` replaces planes of this host; `end` ends this control plane."""
        self._runtime = runtime
        self._own = own
        self._restart = restart
        self._end = end
        self._tried: set[int] = set()
        self._told = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.look()

    async def look(self) -> None:
        """See which code the planes run, and do what has to be done."""
        found = mixture(self._own, living_planes(self._runtime))
        if found.is_outdated and self._is_supervised():
            log.warning(
                "a plane runs newer code, which speaks otherwise: this control plane ends for one of that code",
                extra=about("process", "control plane"),
            )
            self._end()
            return
        older = [plane for plane in found.older if plane.identity.pid not in self._tried]
        if older:
            await self._replace(older)

    async def _replace(self, planes: list[PlaneRecord]) -> None:
        slots = tuple(sorted(plane.identity.slot for plane in planes))
        names = ", ".join(map(str, slots))
        self._tell(logging.WARNING, f"planes of older code, which speaks otherwise, are replaced: {names}")
        try:
            done = await self._restart(slots)
        except NoSupervisorError as error:
            self._tell(logging.ERROR, f"planes of older code, which speaks otherwise, go on ({names}): {error}")
            return
        if done.outcome == "stopped":
            # The next attempts would cost a start each, and end alike.
            self._tried.update(plane.identity.pid for plane in planes)
            what = "the supervisor may be too old for them: end it with SIGKILL and run `routerctl start` again"
            self._tell(logging.ERROR, f"planes of older code could not be replaced ({done.reason}); {what}")

    def _tell(self, level: int, text: str) -> None:
        if text != self._told:
            self._told = text
            log.log(level, "%s", text, extra=about("process"))

    def _is_supervised(self) -> bool:
        record = read_record(self._runtime.supervisor, SupervisorRecord)
        return record is not None and is_alive(record) and not record.is_stopping
