"""A rolling restart: one slot after the other gets a new plane, and no slot is ever without one that serves.

The old planes' grace times run side by side: a roll waits for new planes only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from controlplane.events.event import about
from controlplane.slot import Slot
from controlplane.supervision import START_PATIENCE
from controlplane.supervisor_socket import PlaneRestart, PlanesRestarted
from shared.clock import Clock

log = logging.getLogger("supervisor")


class Roll:
    """Restarts planes by request, one request at a time."""

    def __init__(self, slots: Mapping[int, Slot], clock: Clock, patience: float = START_PATIENCE) -> None:
        self._slots = slots
        self._clock = clock
        self._patience = patience
        self._is_under_way = False

    async def restart(self, numbers: tuple[int, ...]) -> PlanesRestarted:
        """Replace the planes of these slots (all when there are none named), in order; tell how it went."""
        reason = self._why_not(numbers)
        if reason:
            return PlanesRestarted(outcome="refused", reason=reason)
        self._is_under_way = True
        try:
            return await self._roll([self._slots[number] for number in sorted(set(numbers) or self._slots)])
        finally:
            self._is_under_way = False

    def _why_not(self, numbers: tuple[int, ...]) -> str:
        if self._is_under_way:
            return "a rolling restart is under way; wait for its end"
        unknown = sorted(set(numbers) - self._slots.keys())
        if unknown:
            return f"there is no plane {unknown[0]}; the planes are 0 to {len(self._slots) - 1}"
        for number in sorted(set(numbers) or self._slots):
            if not self._slots[number].is_serving:
                return f"plane {number} is being started and does not serve yet; wait until it does"
        return ""

    async def _roll(self, slots: list[Slot]) -> PlanesRestarted:
        log.info("rolling restart of %d plane%s", len(slots), "s" * (len(slots) != 1), extra=about("process"))
        done: list[PlaneRestart] = []
        reason = ""
        for slot in slots:
            if reason:
                done.append(PlaneRestart(slot=slot.number, outcome="untouched", old_pid=_pid(slot)))
                continue
            old, began = _pid(slot), self._clock.monotonic()
            failure = await slot.replace(self._patience)
            seconds = round(self._clock.monotonic() - began, 3)
            if failure:
                reason = f"the roll stopped at plane {slot.number}: {failure}"
            done.append(
                PlaneRestart(
                    slot=slot.number,
                    outcome="failed" if failure else "restarted",
                    old_pid=old,
                    new_pid=None if failure else _pid(slot),
                    seconds=seconds,
                    reason=failure,
                )
            )
        if reason:
            log.error("%s; planes that were not replaced go on", reason, extra=about("process"))
            return PlanesRestarted(outcome="stopped", reason=reason, planes=tuple(done))
        serve = "1 new plane serves" if len(done) == 1 else f"{len(done)} new planes serve"
        log.info("rolling restart: %s", serve, extra=about("process"))
        return PlanesRestarted(outcome="restarted", planes=tuple(done))


def _pid(slot: Slot) -> int | None:
    return slot.current.watched.pid if slot.current is not None else None
