"""The supervisor's decisions, without processes, sockets or clocks.

Which planes of an earlier supervisor to keep, how long to wait before a dead process is started again, when one that
lives counts as hung, and when the router as a whole is ready. `controlplane.supervisor` carries them out.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.messages import ControlStatus, PlaneStatus
from shared.runtime_dir import PlaneRecord

SHORTEST_PAUSE = 0.5
"""Seconds before the second start in a row; each further one doubles it."""
LONGEST_PAUSE = 30.0
"""Seconds: rare enough to cost nothing, often enough that a repaired cause heals by itself."""
HEALTHY_LIFE = 60.0
"""Seconds after which a process counts as having worked, so that its death starts a new count."""

START_PATIENCE = 30.0
"""Seconds that a plane which replaces a living one may take to serve: a second or two where the machine has time."""


@dataclass(frozen=True)
class Restart:
    """What to do after a death: start again after `pause` seconds; `deaths` is the count in this series."""

    deaths: int
    pause: float


def after_death(deaths_before: int, lifetime: float) -> Restart:
    """Decide on the next start of a process that lived `lifetime` seconds.

    The first death costs no time: most are single events, and every moment is capacity lost. A series
    backs off, or a process that can not live would take a core for starting it over and over.
    """
    deaths = 1 if lifetime >= HEALTHY_LIFE else deaths_before + 1
    if deaths == 1:
        return Restart(deaths, 0.0)
    # The exponent is bounded, so that a series of thousands does not overflow a float.
    return Restart(deaths, min(SHORTEST_PAUSE * 2.0 ** min(deaths - 2, 16), LONGEST_PAUSE))


PULSE_PAUSE = 1.0
"""Seconds between rounds in which each process is asked for a sign of life."""
PULSE_TIMEOUT = 1.0
"""Seconds that it has to give one."""
LONGEST_ROUND = 3.0
"""Seconds of a round that count: what goes beyond is time in which the supervisor itself did not run."""
HUNG_AFTER = 10.0
"""Seconds of silence after which people are told."""


def after_round(before: Mapping[int, float], answered: Mapping[int, bool], passed: float) -> dict[int, float]:
    """Return how many seconds each process has been silent, after a round of `passed` seconds; keys are pids.

    A machine that was paused must not look like one whose processes all hang. So time counts only as far as the
    supervisor itself ran, and only where at least one other process answered in the same round.
    """
    counted = min(passed, LONGEST_ROUND) if any(answered.values()) else 0.0
    return {pid: 0.0 if did_answer else before.get(pid, 0.0) + counted for pid, did_answer in answered.items()}


Verdict = Literal["", "hung", "back", "replace"]


def verdict(before: float, silence: float, limit: float) -> Verdict:
    """Decide on a process that was silent for `before` seconds, and is for `silence` after a round.

    `limit` is how long it may be, 0 for ever. Should replacing it not work, it is told again each `limit` seconds.
    """
    if limit and before // limit < silence // limit:
        return "replace"
    told_after = min(HUNG_AFTER, limit) if limit else HUNG_AFTER
    if before < told_after <= silence:
        return "hung"
    return "back" if silence == 0.0 and before >= told_after else ""


@dataclass(frozen=True)
class PlanePlan:
    """What to do with the slots `0 .. N-1` and with the planes that already run, by slot."""

    adopt: dict[int, PlaneRecord]
    replace: dict[int, PlaneRecord]
    start: tuple[int, ...]
    stop: tuple[PlaneRecord, ...]

    @property
    def is_first_start(self) -> bool:
        """Whether no plane served before: nobody loses anything when this start fails."""
        return not self.adopt and not self.replace


def plan_planes(running: Iterable[PlaneRecord], fingerprint: str, count: int) -> PlanePlan:
    """Share out the slots: planes of our own fingerprint first, then others to be replaced; the rest must go.

    Of two planes in one slot the younger is kept: the older one was about to be replaced by it.
    """
    adopt: dict[int, PlaneRecord] = {}
    replace: dict[int, PlaneRecord] = {}
    stop: list[PlaneRecord] = []
    youngest_first = sorted(running, key=lambda record: record.process.started, reverse=True)
    for record in sorted(youngest_first, key=lambda record: record.fingerprint != fingerprint):
        slot = record.identity.slot
        if slot >= count or slot in adopt or slot in replace:
            stop.append(record)
        elif record.fingerprint == fingerprint:
            adopt[slot] = record
        else:
            replace[slot] = record
    start = tuple(slot for slot in range(count) if slot not in adopt and slot not in replace)
    return PlanePlan(adopt, replace, start, tuple(stop))


def why_replaced(plane: str, strays: Collection[str]) -> str:
    """Return why a plane with that id does not stay; of those whose records can not be read no settings are known."""
    if plane in strays:
        return "has a record that can not be read"
    return "runs with other settings or of another version"


def slots_for(strays: Iterable[str], taken: Iterable[int], count: int) -> dict[str, int]:
    """Return a slot for each plane of which nobody knows the slot: one of the `count` that nobody has, else one beyond.

    It is replaced there like any other that is not ours: it is asked to end once its successor serves.
    """
    free = sorted(set(range(count)) - set(taken))
    beyond = itertools.count(count)
    return dict(zip(strays, itertools.chain(free, beyond), strict=False))


def missing_for_ready(
    control: ControlStatus | None, planes: Sequence[PlaneStatus | None], *, needs_worker: bool
) -> str | None:
    """Return what the router still waits for before it is ready; None when it is.

    A plane must listen and serve from a table of this very control plane (an adopted one has an older
    table at first). With `needs_worker`, each must also know a worker to send requests to.
    """
    if control is None:
        return "the control plane to answer"
    for slot, plane in enumerate(planes):
        if not has_table(plane, None):
            return f"plane {slot} to listen with a table"
        if not has_table(plane, control.stamp.epoch):
            refused = f", and it refuses that: {control.refused}" if control.refused else ""
            return f"plane {slot} to take this control plane's table in place of the one before{refused}"
    if not control.ports_settled:
        return "the control plane to open its admin and metrics ports"
    if needs_worker and any(plane is not None and plane.ready_workers == 0 for plane in planes):
        return f"a worker to become ready ({control.ready_workers} of {control.workers} are)"
    return None


def has_table(plane: PlaneStatus | None, epoch: int | None) -> bool:
    """Whether the plane listens and serves from a table of that publisher's life (None: of any)."""
    if plane is None or not plane.listening or plane.table is None:
        return False
    return epoch is None or plane.table.epoch == epoch


def ready_line(url: str, control: ControlStatus, planes: int) -> str:
    """Return the line that tells people and scripts where the router is."""
    noun = "plane" if planes == 1 else "planes"
    workers = f"{control.ready_workers} of {control.workers} workers ready"
    return f"ready: {url} ({planes} {noun}, {workers}, table {control.stamp.version})"
