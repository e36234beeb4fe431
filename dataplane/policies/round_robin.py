"""Each worker in its turn."""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.policies.base import C, PlaneView, Policy, RequestView, Why
from dataplane.policies.weights import Turns

_MOST_COUNTERS = 1024


class RoundRobin(Policy):
    """A counter per model and plane.

    With one counter for all, requests that alternate between two models would each meet the same worker every
    time. Planes start apart, so that together they do not all begin at the first worker.
    """

    name = "round_robin"

    def __init__(self, plane: PlaneView) -> None:
        """Begin at the worker with the plane's number, modulo theirs."""
        super().__init__(plane)
        self._start = plane.slot
        self._next: dict[str | None, int] = {}
        self._turns = Turns(plane.rng)

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return the next one."""
        model = request.model
        if self.weighted:
            chosen = self._turns.next(candidates, model)
            if why is not None:
                why.add(chosen, "its turn by weight")
            return chosen
        turn = self._next.get(model)
        if turn is None:
            turn = self._start
            if len(self._next) >= _MOST_COUNTERS:
                # Workers that take any model let clients make names up.
                self._next.clear()
        self._next[model] = turn + 1
        first = turn % len(candidates)
        if why is not None:
            why.add(candidates[first], "its turn")
            for later in range(1, len(candidates)):
                why.add(candidates[(first + later) % len(candidates)], f"in {later} turn{'s' * (later > 1)}")
        return candidates[first]
