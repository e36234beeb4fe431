"""Each worker in its turn."""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.policies.base import C, RequestView

_MOST_COUNTERS = 1024


class RoundRobin:
    """A counter per model and plane.

    With one counter for all, requests that alternate between two models would each meet the same worker every
    time. Planes start apart, so that together they do not all begin at the first worker.
    """

    name = "round_robin"

    def __init__(self, start: int = 0) -> None:
        """Begin at the worker with index `start`, modulo their number."""
        self._start = start
        self._next: dict[str | None, int] = {}

    def pick(self, candidates: Sequence[C], request: RequestView) -> C:
        """Return the next one."""
        model = request.model
        turn = self._next.get(model)
        if turn is None:
            turn = self._start
            if len(self._next) >= _MOST_COUNTERS:
                # Workers that take any model let clients make names up.
                self._next.clear()
        self._next[model] = turn + 1
        return candidates[turn % len(candidates)]
