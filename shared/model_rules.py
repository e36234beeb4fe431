"""What the names of `[models]` stand for: aliases, splits between models or groups of workers, LoRA adapters.

The rules have the form of the file, and travel in the routing table's settings. A name stands for one of its *arms*; a
plain alias has one, a `split` (a canary, say) several. An arm is a model, or those of its workers that have certain
labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class ModelArm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One arm of a split; without `to` it is for the name itself. `weight` is its share against that of the others.

    An arm of weight 0 is used when no other one has a worker that is ready.
    """

    to: str | None = None
    labels: dict[str, str] = {}
    weight: float = 1.0

    def __post_init__(self) -> None:
        # Both sides of the wire must hash the same bytes.
        if isinstance(self.weight, int):
            msgspec.structs.force_setattr(self, "weight", float(self.weight))

    @property
    def label(self) -> str:
        """What the arm is called in metrics and receipts; no two of a split are called alike."""
        return " ".join((*((self.to,) if self.to is not None else ()), *labels_text(self.labels)))


class ModelRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one name stands for: `to` a model, `labels` some of its workers, or a `split` of such.

    `rewrite`: the worker gets the model's name in the body in place of the one that the client sent. `parent` is the
    base model of a LoRA adapter that its workers load when they are asked for it.
    """

    to: str | None = None
    labels: dict[str, str] = {}
    rewrite: bool = True
    parent: str | None = None
    split: tuple[ModelArm, ...] = ()

    @property
    def arms(self) -> tuple[ModelArm, ...]:
        """Its arms; none for an adapter, which is a model by itself."""
        if self.parent is not None:
            return ()
        return self.split or (ModelArm(to=self.to, labels=self.labels),)


ModelRules = Mapping[str, ModelRule]


def labels_text(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return labels as people write them."""
    return tuple(f"{key}={value}" for key, value in sorted(labels.items()))
