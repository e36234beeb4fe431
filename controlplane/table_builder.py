"""From the registry's view to the content of a routing table."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.registry import Member
from shared.table import ModelCard, Worker


def build(members: Iterable[Member]) -> tuple[tuple[Worker, ...], tuple[ModelCard, ...]]:
    """Return the workers and the models that they serve.

    The first worker that has a model gives its card, whatever that worker's state, so that the card does not
    change each time a worker fails. Models stand in the order of the workers, then in each worker's own.
    """
    workers: list[Worker] = []
    models: dict[str, ModelCard] = {}
    for member in members:
        if member.worker.state == "gone":
            continue
        workers.append(member.worker)
        for model, card in member.cards.items():
            if model not in models:
                models[model] = ModelCard(id=model, card=card)
    return tuple(workers), tuple(models.values())
