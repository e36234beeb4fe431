"""Any worker, each as likely as another."""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.policies.base import C, Policy, RequestView, Why


class RandomChoice(Policy):
    """Uniform choice."""

    name = "random"

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return any one."""
        chosen = candidates[int(self.plane.rng.random() * len(candidates))]
        if why is not None:
            why.add(chosen, f"drawn out of {len(candidates)}")
        return chosen
