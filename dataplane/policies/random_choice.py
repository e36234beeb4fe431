"""Any worker, each as likely as another."""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.policies.base import C, PlaneView, Policy, RequestView, Why
from dataplane.policies.weights import Drawing
from shared.table import RoutingTable


class RandomChoice(Policy):
    """Uniform choice; by weight where workers have different ones."""

    name = "random"

    def __init__(self, plane: PlaneView) -> None:
        super().__init__(plane)
        self._drawing = Drawing(plane.rng)

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return any one."""
        if self.weighted:
            chosen = self._drawing.one(candidates, request.model)
        else:
            chosen = candidates[int(self.plane.rng.random() * len(candidates))]
        if why is not None:
            by_weight = " by weight" * self.weighted
            why.add(chosen, f"drawn{by_weight} out of {len(candidates)}")
        return chosen

    def follow(self, table: RoutingTable) -> None:
        """Know that the candidates may be others."""
        self._drawing.forget()
