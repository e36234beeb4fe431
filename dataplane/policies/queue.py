"""What a worker's queue costs a request that joins it, in tokens to compute.

    queue = (0.2 * prefill + 0.15 * load * mean) / weight

`prefill` is how many tokens of prompts the worker has still to compute; a part of them only, because tokens that are
computed twice keep the fleet busy, and a prompt that waits costs no more than its own client's time. `load` is in
requests, `mean` is what prompts had to have computed lately: those that decode slow a prefill down, too, and a worker
that decodes slowly shows nothing but requests. The fractions are by the evaluation in docs/policies.md.
"""

from __future__ import annotations

from dataplane.policies.base import Candidate
from shared.routes import route_of

_OF_PREFILL = 0.2
_OF_MEAN = 0.15
_NEWEST = 1 / 64
"""Weight of the newest prompt in the mean."""


class Queues:
    """Weighs queues by what prompts had to have computed lately."""

    def __init__(self) -> None:
        self.mean = 0.0
        """Tokens that about the last 64 prompts had to have computed."""

    @property
    def each(self) -> float:
        """Tokens that a request in a queue counts for, beside its prompt."""
        return self.mean * _OF_MEAN

    def cost(self, one: Candidate) -> float:
        """Return the cost of a worker's queue in tokens."""
        return (one.prefill() * _OF_PREFILL + one.load() * self.each) / one.weight

    def order(self, one: Candidate) -> tuple[float, float]:
        """Return what is less for the shorter queue: by load, too, while no prompt has told what a request costs."""
        return self.cost(one), one.load() / one.weight

    def join(self, path: str, computed: float) -> int:
        """Note a prompt that has `computed` tokens to compute; return how many of them an engine will be busy with."""
        self.mean += (max(0.0, computed) - self.mean) * _NEWEST
        return 0 if route_of(path).is_computed else max(0, int(computed))
