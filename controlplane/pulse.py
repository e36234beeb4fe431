"""Finds processes that live and do nothing: stopped, deadlocked, or in a system call that never returns.

The kernel goes on giving clients to such a plane, whose share of new connections hangs. When it counts as hung is
decided in `controlplane.supervision`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass

from controlplane.events.event import about, about_plane
from controlplane.inquiry import control_status, plane_status
from controlplane.slot import Slot
from controlplane.supervision import PULSE_PAUSE, PULSE_TIMEOUT, after_round, verdict
from controlplane.watched import Watched
from shared.clock import Clock
from shared.runtime_dir import RuntimeDir
from shared.sockets import Context

log = logging.getLogger("supervisor")


@dataclass(frozen=True)
class _Patient:
    """A process that is asked for a sign of life, and what to do when it is hung; `serves`: it answered before."""

    watched: Watched
    serves: bool
    ask: Callable[[], Awaitable[object]]
    replace: Callable[[], Coroutine[None, None, None]]


class Pulse:
    """Asks each plane that serves, and the control plane, again and again; replaces those that are hung.

    A control plane that has never answered is still starting. `limit` is in seconds, 0 for never.
    """

    def __init__(
        self,
        context: Context,
        runtime: RuntimeDir,
        slots: Mapping[int, Slot],
        control_plane: Callable[[], Watched | None],
        *,
        limit: float,
        patience: float,
        clock: Clock,
    ) -> None:
        self._context = context
        self._runtime = runtime
        self._slots = slots
        self._control_plane = control_plane
        self._limit = limit
        self._patience = patience
        self._clock = clock
        self._silences: dict[int, float] = {}

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as group:
            before = self._clock.monotonic()
            while True:
                await asyncio.sleep(PULSE_PAUSE)
                patients = self._patients()
                answers = await asyncio.gather(*(patient.ask() for patient in patients.values()))
                now = self._clock.monotonic()
                answered = {
                    pid: answer is not None
                    for (pid, patient), answer in zip(patients.items(), answers, strict=True)
                    if answer is not None or patient.serves or pid in self._silences
                }
                silences = after_round(self._silences, answered, now - before)
                before = now
                for pid, silence in silences.items():
                    self._act(group, patients[pid], self._silences.get(pid, 0.0), silence)
                self._silences = silences

    def _patients(self) -> dict[int, _Patient]:
        patients = {}
        for slot in self._slots.values():
            if slot.current is not None and slot.is_serving and not slot.is_being_replaced:
                patients[slot.current.watched.pid] = self._plane(slot, slot.current.watched, slot.current.id)
        control_plane = self._control_plane()
        if control_plane is not None and control_plane.is_alive:
            patients[control_plane.pid] = _Patient(
                control_plane,
                False,
                lambda: control_status(self._context, self._runtime, timeout=PULSE_TIMEOUT),
                lambda: self._end_control_plane(control_plane),
            )
        return patients

    def _plane(self, slot: Slot, watched: Watched, plane_id: str) -> _Patient:
        return _Patient(
            watched,
            True,
            lambda: plane_status(self._context, self._runtime, plane_id, timeout=PULSE_TIMEOUT),
            lambda: self._replace(slot),
        )

    def _act(self, group: asyncio.TaskGroup, patient: _Patient, before: float, silence: float) -> None:
        name = patient.watched.name
        told = about("process", name)
        match verdict(before, silence, self._limit):
            case "hung":
                then = f"it is replaced after {self._limit:g} s" if self._limit else "--hung-plane-secs 0 leaves it so"
                log.error("%s is hung: no answer for %.0f s, while others answer; %s", name, silence, then, extra=told)
            case "back":
                log.warning("%s answers again", name, extra=told)
            case "replace":
                log.error("%s has not answered for %.0f s: replacing it", name, silence, extra=told)
                group.create_task(patient.replace())

    async def _replace(self, slot: Slot) -> None:
        failure = await slot.replace(self._patience, is_hung=True)
        if failure:
            log.error("plane %d is still hung: %s", slot.number, failure, extra=about_plane(slot.number))

    async def _end_control_plane(self, control_plane: Watched) -> None:
        # Its successor can not begin before: there must never be two.
        control_plane.kill()
