"""What the planes have told: which table each serves, what it has in flight, and its counters.

Each plane reports its own sums since it started, so the sums over planes would fall whenever one ends. They must
not: a plane that falls silent, ends or dies is *folded*: its last report stays part of the sums. A folded plane
that reports again is simply a plane again, and counts once.

A request that a plane had active when it died got no whole answer. It is counted as aborted by `plane`, so that
accepted = finished + aborted + rejected + active goes on holding.

No socket and no clock. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from controlplane.totals import Totals
from shared.messages import Ack, Goodbye, InflightReport, Nack
from shared.plane_identity import PlaneIdentity
from shared.plane_report import CounterReport, PairReport
from shared.table import Stamp

SUSPICIOUS_AFTER = 2.0
"""Seconds of silence (a plane reports each second) after which it is checked whether the process still runs."""
FOLDED_AFTER = 10.0
"""Seconds of silence after which a plane is folded, whether its process runs or not."""
SILENT_AFTER = 3.0
"""Seconds without a word (a plane reports each second) after which its figures are no longer called present."""
LOST_AFTER = 300.0
"""Seconds of silence after which a plane on another host counts as dead: nobody can look there, and links heal."""
MAX_PLANES = 1024
MAX_NACK = 300
"""Characters of a plane's reason that are kept."""
_MAX_PUBLISHED = 256
"""Tables of which it is known when they were published."""
_MAX_DEAD = 64
"""Dead planes of which the last report is kept, in case one speaks again that was only believed to be dead."""


@dataclass(slots=True)
class Plane:
    """One plane as last heard of, `since` when, and when its last `report` came. Only a folded plane can be `is_dead`.

    `inflight` (by worker) and `active` are of one instant. `nack` is why it refuses the table `nacked`. `ack_lag` is
    how many seconds after its publication the plane served from the last table.
    """

    identity: PlaneIdentity
    heard: float
    acked: Stamp | None = None
    nack: str | None = None
    nacked: Stamp | None = None
    inflight: dict[str, int] = field(default_factory=dict)
    active: int = 0
    inflight_seq: int = 0
    report: CounterReport | None = None
    reported: float = 0.0
    is_folded: bool = False
    is_dead: bool = False
    since: float = 0.0
    ack_lag: float | None = None


class Planes:
    """All planes that were heard of, and the sums over them."""

    def __init__(self) -> None:
        self._planes: dict[str, Plane] = {}
        self._folded: OrderedDict[str, Plane] = OrderedDict()
        self._base = Totals()
        self._published: OrderedDict[tuple[int, int], float] = OrderedDict()
        self._awaited: set[str] = set()
        self._awaited_until = 0.0

    def expect(self, plane_ids: Iterable[str], now: float) -> None:
        """Name planes that have counted for an earlier control plane, and are about to report here."""
        self._awaited = set(plane_ids)
        self._awaited_until = now + FOLDED_AFTER

    def is_complete(self, now: float) -> bool:
        """Whether the sums hold every plane that is expected. Before, they are too small, and would seem to fall."""
        return not self._awaited or now >= self._awaited_until

    def elsewhere(self) -> int:
        """Return how many planes on other hosts are heard."""
        return sum(plane.identity.host != "" for plane in self._planes.values())

    def hear(self, identity: PlaneIdentity, now: float) -> Plane:
        """Note a sign of life."""
        plane = self._planes.get(identity.id)
        if plane is None:
            plane = self._folded.pop(identity.id, None) or Plane(identity, now, since=now)
            plane.is_folded = plane.is_dead = False
            if len(self._planes) >= MAX_PLANES:
                self._fold(min(self._planes.values(), key=lambda other: other.heard), dead=False)
            self._planes[identity.id] = plane
        plane.heard = now
        return plane

    def acked(self, message: Ack, now: float) -> None:
        """Note the table that a plane serves from."""
        plane = self.hear(message.plane, now)
        published = self._published.get(message.stamp.order)
        # The first table of a plane was published before there was that plane.
        if plane.acked is not None and published is not None and message.stamp.order > plane.acked.order:
            plane.ack_lag = now - published
        plane.acked, plane.nack, plane.nacked = message.stamp, None, None

    def refused(self, message: Nack, now: float) -> bool:
        """Note that a plane keeps the table it had, and why. Returns whether that is news."""
        plane = self.hear(message.plane, now)
        before, plane.nack = plane.nack, message.reason[:MAX_NACK]
        plane.nacked = message.stamp
        return plane.nack != before

    def inflight(self, message: InflightReport, now: float) -> None:
        """Note what a plane has in flight."""
        plane = self.hear(message.plane, now)
        plane.inflight, plane.inflight_seq, plane.active = message.counts, message.seq, message.active

    def counters(self, message: CounterReport, now: float) -> bool:
        """Note a plane's figures. Returns whether it waits for something else than before, or no more."""
        plane = self.hear(message.plane, now)
        waited_for = plane.report.waits_for if plane.report is not None else ""
        plane.report, plane.reported = message, now
        plane.inflight, plane.active = message.inflight, message.active
        self._awaited.discard(message.plane.id)
        return message.waits_for != waited_for

    def said_goodbye(self, message: Goodbye, now: float) -> Plane:
        """Note that a plane has ended by request. Returns it, folded."""
        return self._fold(self.hear(message.plane, now), dead=True)

    def fold_silent(self, now: float, is_dead: Callable[[PlaneIdentity], bool]) -> tuple[Plane, ...]:
        """Fold the planes that fell silent. Returns those that were found dead.

        `is_dead` looks at a process on this host. On another one a plane is dead when the next one in its place is
        heard, or after `LOST_AFTER`.
        """
        places = {place_of(plane): plane.identity.started for plane in self.present()}
        lost = []
        for plane in (*self._planes.values(), *self._folded.values()):
            silence = now - plane.heard
            if plane.is_dead or silence < SUSPICIOUS_AFTER:
                continue
            if plane.identity.host:
                dead = silence >= LOST_AFTER or places[place_of(plane)] > plane.identity.started
            else:
                dead = is_dead(plane.identity)
            if dead:
                lost.append(self._fold(plane, dead=True))
            elif silence >= FOLDED_AFTER and not plane.is_folded:
                self._fold(plane, dead=False)
        return tuple(lost)

    def forget_workers(self, known: Iterable[str]) -> None:
        """Drop the sums about workers that left the table, so that they do not grow for ever."""
        self._base.keep_workers(frozenset(known))
        self._base.keep_planes(frozenset(plane.identity.label for plane in self.present()), MAX_PLANES)

    def published(self, order: tuple[int, int], now: float) -> None:
        """Note when a table was published, which planes will acknowledge."""
        self._published[order] = now
        if len(self._published) > _MAX_PUBLISHED:
            self._published.popitem(last=False)

    def ack_lag(self, plane: Plane, now: float) -> float | None:
        """Return how long a plane took to serve from the table that it has, or how long it has been missing the next.

        In seconds; None where it is not known, as of a plane that has followed no change yet.
        """
        if plane.acked is None:
            return None
        missed = (when for order, when in self._published.items() if order > plane.acked.order)
        since = next(missed, None)
        return plane.ack_lag if since is None else now - since

    def present(self) -> tuple[Plane, ...]:
        """Return the planes that are not known to be dead, by place; of several in one place the newest is last."""
        alive = (*self._planes.values(), *(plane for plane in self._folded.values() if not plane.is_dead))
        return tuple(sorted(alive, key=lambda plane: (*place_of(plane), plane.identity.started)))

    def serve(self, order: tuple[int, int]) -> bool:
        """Whether every plane that is heard serves from the table of that order or a later one."""
        return all(plane.acked is None or plane.acked.order >= order for plane in self._planes.values())

    def is_idle(self, worker: str, order: tuple[int, int]) -> bool:
        """Whether every plane has told, since it serves by that table, that it has nothing there.

        One that is silent goes on to send there as long as it is not known to be dead.
        """
        return next(self._holding(worker, order), None) is None

    def silent_at(self, worker: str, order: tuple[int, int], now: float) -> tuple[Plane, ...]:
        """Return the planes that have not told so and are silent, by place."""
        silent = (plane for plane in self._holding(worker, order) if now - plane.heard > SILENT_AFTER)
        return tuple(sorted(silent, key=lambda plane: (*place_of(plane), plane.identity.started)))

    def _holding(self, worker: str, order: tuple[int, int]) -> Iterator[Plane]:
        for plane in (*self._planes.values(), *self._folded.values()):
            if not plane.is_dead and not _has_nothing_at(worker, plane, order):
                yield plane

    def totals(self) -> Totals:
        """Return the sums over all planes that ever reported."""
        totals = self._base.copy()
        for plane in (*self._planes.values(), *self._folded.values()):
            _add(totals, plane)
        return totals

    def kept(self) -> tuple[Totals, tuple[CounterReport, ...]]:
        """Return what a successor needs: the sums over planes that are gone, and the last reports of the others."""
        ended = self._base.copy()
        reports = []
        for plane in (*self._planes.values(), *self._folded.values()):
            if plane.is_dead:
                _add(ended, plane)
            elif plane.report is not None:
                reports.append(plane.report)
        return ended, tuple(reports)

    def restore(self, ended: Totals, reports: Iterable[CounterReport], alive: Collection[str], now: float) -> None:
        """Take over what an earlier control plane kept; a plane here that is not among the living has ended since.

        Those on other hosts have as long to be heard as if they had just been.
        """
        self._base = ended.fitting()
        for report in reports:
            if report.plane.id in alive or report.plane.host:
                self._planes[report.plane.id] = Plane(
                    report.plane,
                    now,
                    inflight=report.inflight,
                    active=report.active,
                    report=report,
                    reported=now,
                    since=now,
                )
            else:
                self._base.add(report, lost=True)

    def pair_reports(self, now: float) -> tuple[PairReport, ...]:
        """Return what the planes have told lately of prefill and decode workers; nothing where there are none."""
        reports = (plane.report for plane in self._planes.values() if now - plane.reported <= SILENT_AFTER)
        return tuple(report.pairs for report in reports if report is not None and report.pairs is not None)

    def inflight_by_worker(self, without: Collection[str] = ()) -> dict[str, int]:
        """Return the requests in flight, over all planes that are not known to be dead; `without` are ids of others."""
        counts: dict[str, int] = {}
        for plane in self.present():
            if plane.identity.id in without:
                continue
            for worker, count in plane.inflight.items():
                counts[worker] = counts.get(worker, 0) + count
        return counts

    def inflight_at(self, worker: str) -> int:
        """Return a worker's requests in flight, over all planes that are not known to be dead."""
        planes = (*self._planes.values(), *self._folded.values())
        return sum(plane.inflight.get(worker, 0) for plane in planes if not plane.is_dead)

    def _fold(self, plane: Plane, *, dead: bool) -> Plane:
        key = plane.identity.id
        self._planes.pop(key, None)
        plane.is_folded, plane.is_dead = True, dead
        self._folded[key] = plane
        self._melt()
        return plane

    def _melt(self) -> None:
        """Make the oldest folded plane part of the sums for good if there are too many: one that lives last of all.

        Were it to speak again, it would count twice.
        """
        dead = [key for key, plane in self._folded.items() if plane.is_dead]
        if len(dead) > _MAX_DEAD or len(self._planes) + len(self._folded) > MAX_PLANES + _MAX_DEAD:
            oldest = self._folded.pop(dead[0] if dead else next(iter(self._folded)))
            oldest.is_dead = True
            _add(self._base, oldest)


def place_of(plane: Plane) -> tuple[str, int]:
    """Return what a plane and its successor have in common: the name of its host (empty: this one), and its slot."""
    return plane.identity.host, plane.identity.slot


def _add(totals: Totals, plane: Plane) -> None:
    if plane.report is not None:
        totals.add(plane.report, lost=plane.is_dead)


def _has_nothing_at(worker: str, plane: Plane, order: tuple[int, int]) -> bool:
    report = plane.report
    if plane.acked is None and (report is None or report.table is None):
        # It has just started, and gets the newest table only.
        return True
    if report is None or report.table is None or report.table.order < order:
        return False
    return not report.inflight.get(worker) and not plane.inflight.get(worker)
