"""Each worker in its turn."""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.policies.base import C, RequestView


class RoundRobin:
    """A counter per plane. Planes start apart, so that together they do not all begin at the first worker."""

    name = "round_robin"

    def __init__(self, start: int = 0) -> None:
        """Begin at the worker with index `start`, modulo their number."""
        self._next = start

    def pick(self, candidates: Sequence[C], request: RequestView) -> C:
        """Return the next one."""
        chosen = candidates[self._next % len(candidates)]
        self._next += 1
        return chosen
