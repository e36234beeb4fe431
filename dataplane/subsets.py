"""Whose workers may take a request for a model: those that have told it, or some of them.

A *subset* (Envoy's word) is what an arm of `[models]` with labels stands for. A LoRA adapter whose parent the operator
has named may go to workers of the parent that have not loaded it; those that have it come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from dataplane.slot import Slot
from shared.model_rules import ModelRules, labels_text
from shared.table import RoutingTable, Worker

Groups = tuple[tuple[Slot, ...], ...]


class Subset(NamedTuple):
    """The workers of a model that have all these labels."""

    model: str
    labels: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Return it for people."""
        return " ".join((self.model, *labels_text(dict(self.labels))))


Served = str | Subset
"""What candidates are looked up by: a model, or a subset of its workers."""


def served_by(model: str, labels: Mapping[str, str]) -> Served:
    """Return what an arm's candidates are looked up by."""
    return Subset(model, tuple(sorted(labels.items()))) if labels else model


def may_serve(worker: Worker, served: Served, rules: ModelRules) -> bool:
    """Whether a worker may take requests for it, whatever its state; one that has not told its models may."""
    if isinstance(served, Subset):
        has_labels = all(worker.labels.get(key) == value for key, value in served.labels)
        return has_labels and may_serve(worker, served.model, rules)
    if worker.models is None or served in worker.models:
        return True
    rule = rules.get(served)
    return rule is not None and rule.parent in worker.models


def by_served(
    ready: tuple[Slot, ...], table: RoutingTable, usable: Callable[[Iterable[Slot]], Groups]
) -> dict[Served, Groups]:
    """Return the groups of the `ready` workers by each model that somebody has told, and by each subset and adapter."""
    workers, rules = table.workers, table.settings.models
    serving = {slot.id: workers[slot.id].models for slot in ready}
    slots: dict[str, list[Slot]] = {
        model: [] for model in {*table.models, *chain.from_iterable(told or () for told in serving.values())}
    }
    # By worker, not by model: workers have few models, and a fleet may have many of both.
    for slot in ready:
        told = serving[slot.id]
        for model in slots if told is None else told:
            slots[model].append(slot)
    groups: dict[Served, Groups] = {model: usable(some) for model, some in slots.items()}
    untold = [slot for slot in ready if serving[slot.id] is None]
    for name, rule in rules.items():
        if rule.parent is not None:
            have = slots.get(name, untold)
            others = (slot for slot in slots.get(rule.parent, untold) if slot not in have)
            both = (*usable(have), *usable(others))
            groups[name] = tuple(group for group in both if group) or ((),)
    for name, rule in rules.items():
        for arm in rule.arms:
            served = served_by(name if arm.to is None else arm.to, arm.labels)
            if isinstance(served, Subset) and served not in groups:
                some = (slot for slot in ready if may_serve(workers[slot.id], served, rules))
                groups[served] = usable(some)
    return groups
