"""A session stays with its worker; a new one goes to whoever has the fewest sessions. What has none goes by load.

Planes tell each other of new and of finished sessions within a tenth of a second. Where two planes gave the same new
session away in that moment, both keep to the one of the two that the ring prefers; otherwise what was said last holds.
A session is over when it was idle for `--session-ttl-secs`, when its worker is gone, or when a client says so (POST
/finish_session).
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from dataplane.policies.base import C, PlaneView, Policy, RequestView, Why
from dataplane.policies.lack import lack
from dataplane.policies.news import hashes_of
from dataplane.policies.prompt import hash64
from dataplane.policies.ring import Rings
from dataplane.policies.session_key import MAX_KEY, session_key
from dataplane.policies.survey import Survey, Surveys, load_per_weight
from shared.messages import MAX_LEARNT, Learnt
from shared.table import RoutingTable, Settings

MAX_SESSIONS = 100_000
"""Per plane, about 30 MB; beyond it the one that was idle for longest is forgotten."""
_FINISHED = ""
"""Stands in a report where a worker's id stands otherwise."""


class StickyLeastLoaded(Policy):
    """By session. Requests without one go to the least loaded worker, and are not counted as one."""

    name = "sticky_least_loaded"
    fallbacks = {  # noqa: RUF012 - a ClassVar of the base
        "no_session": "requests without a session go to the least loaded worker; see docs/policies.md",
    }

    def __init__(self, plane: PlaneView) -> None:
        super().__init__(plane)
        # In the order of their last use: worker, and when that was.
        self._sessions: OrderedDict[int, tuple[str, float]] = OrderedDict()
        self._count: Counter[str] = Counter()
        self._epochs: Mapping[str, int] = {}
        self._rings = Rings()
        self._surveys: Surveys[Any] = Surveys()
        self._new: dict[str, array[int]] = {}
        # Those that were told last: another plane may have given them away before it heard.
        self._just_told: frozenset[int] = frozenset()
        self._use(Settings())

    def follow(self, table: RoutingTable) -> None:
        """Go by this table's workers and settings; end the sessions of workers that are gone or were restarted."""
        epochs = {worker.id: worker.epoch for worker in table.workers.values()}
        lost = {worker for worker, epoch in self._epochs.items() if epochs.get(worker) != epoch}
        if lost:
            for session in [session for session, (worker, _) in self._sessions.items() if worker in lost]:
                self._end(session)
        self._epochs = epochs
        self._rings.follow(table)
        self._surveys.forget()
        self._use(table.settings)

    def _use(self, settings: Settings) -> None:
        self._headers = tuple(name.encode() for name in settings.session_headers)
        self._ttl = settings.session_ttl

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return the session's worker if it is among them, else the one with the fewest sessions, or by load."""
        now = request.arrived
        self._expire(now)
        survey: Survey[C] = self._surveys.of(candidates, request.model, now)
        by_id = survey.by_id
        key = session_key(request, self._headers)
        if key is None:
            self.outcomes[lack("no_session", request)] += 1
            # Not by sessions: these would all go to the one that has a session less, however busy it is.
            chosen = survey.least()
            if why is not None:
                why.note = "no session"
                why.add(chosen, "the least loaded", load_per_weight(chosen))
            return chosen
        session = hash64(key.value)
        held = self._sessions.get(session)
        one = by_id.get(held[0]) if held is not None else None
        if one is not None:
            self.outcomes["session"] += 1
            self._hold(session, one.id, now)
            reason = "the session's worker"
        else:
            # Also when its worker is out for a moment: the cache that it had there is of no use to it now.
            self.outcomes["new_session" if held is None else "moved_session"] += 1
            one = self._fewest(by_id, request.model, session)
            self._hold(session, one.id, now)
            self._tell(one.id, session)
            reason = "fewest sessions"
        if why is not None:
            why.note = f"session by {key.source}"
            why.add(one, reason, self._count[one.id])
        return one

    def finish_session(self, session: str) -> None:
        """Forget a session, here and on the other planes."""
        key = hash64(session.encode()[:MAX_KEY])
        self._end(key)
        self._tell(_FINISHED, key)

    def _fewest(self, by_id: Mapping[str, C], model: str | None, key: int) -> C:
        shares = {worker: self._count[worker] / one.weight for worker, one in by_id.items()}
        least = min(shares.values())
        equal = {worker for worker, share in shares.items() if share == least}
        for worker in self._rings.of(model).walk(key):
            if worker in equal:
                return by_id[worker]
        return by_id[min(equal)]

    def _hold(self, session: int, worker: str, now: float) -> None:
        held = self._sessions.get(session)
        if held is None:
            self._count[worker] += 1
        elif held[0] != worker:
            self._count[held[0]] -= 1
            self._count[worker] += 1
        self._sessions[session] = (worker, now)
        self._sessions.move_to_end(session)
        if len(self._sessions) > MAX_SESSIONS:
            self._end(next(iter(self._sessions)))

    def _end(self, session: int) -> None:
        held = self._sessions.pop(session, None)
        if held is not None:
            self._count[held[0]] -= 1
            if self._count[held[0]] <= 0:
                del self._count[held[0]]

    def _expire(self, now: float) -> None:
        while self._sessions:
            oldest = next(iter(self._sessions))
            if self._sessions[oldest][1] + self._ttl > now:
                return
            self._end(oldest)

    # --- what planes tell each other -----------------------------------------------------------------------

    def _tell(self, worker: str, session: int) -> None:
        if sum(map(len, self._new.values())) < MAX_LEARNT:
            self._new.setdefault(worker, array("Q")).append(session)

    def learnt(self) -> Mapping[str, Learnt]:
        """Return the sessions that were given away or finished."""
        new, self._new = self._new, {}
        self._just_told = frozenset(session for worker, sessions in new.items() if worker for session in sessions)
        return {worker: Learnt(self._epochs.get(worker, 0), hashes.tobytes()) for worker, hashes in new.items()}

    def hear(self, learnt: Mapping[str, Learnt], now: float) -> None:
        """Take over what another plane gave away or finished."""
        for worker, told in learnt.items():
            sessions = hashes_of(told)
            if worker == _FINISHED:
                for session in sessions:
                    self._end(session)
            elif self._epochs.get(worker) == told.epoch:
                for session in sessions:
                    self._hold(session, self._preferred(session, worker), now)

    def _preferred(self, session: int, told: str) -> str:
        held = self._sessions.get(session)
        if held is None or not (session in self._just_told or session in self._new.get(held[0], ())):
            return told
        return next((worker for worker in self._rings.of(None).walk(session) if worker in (held[0], told)), told)
