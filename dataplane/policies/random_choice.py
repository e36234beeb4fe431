"""Any worker, each as likely as another."""

from __future__ import annotations

import random
from collections.abc import Sequence

from dataplane.policies.base import C, RequestView


class RandomChoice:
    """Uniform choice, from a generator of its own."""

    name = "random"

    def __init__(self, rng: random.Random) -> None:
        """Draw from `rng`."""
        self._rng = rng

    def pick(self, candidates: Sequence[C], request: RequestView) -> C:
        """Return any one."""
        return candidates[int(self._rng.random() * len(candidates))]
