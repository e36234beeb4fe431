"""From the registry's view to the content of a routing table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from controlplane.model_list import Facts, agreed
from controlplane.registry import Member
from shared.config_pd import KV_CONNECTORS
from shared.table import Breaker, ModelCard, Settings, Worker
from shared.transfer import AUTO

DEFAULT_CONNECTOR = "nixl"
"""vllm-router's."""


def resolved(settings: Settings, members: Iterable[Member]) -> Settings:
    """Return the settings with a connector that planes can go by: with `auto` the one that most workers announce."""
    if settings.kv_connector != AUTO:
        return settings
    announced = Counter(
        worker.transfer.connector
        for worker, *_ in members
        if worker.role != "regular" and worker.transfer is not None and worker.transfer.connector in KV_CONNECTORS
    )
    # Of two that are announced alike often always the same, whoever came first.
    connector = max(sorted(announced), key=announced.__getitem__, default=DEFAULT_CONNECTOR)
    return msgspec.structs.replace(settings, kv_connector=connector)


def unresolved(told: Settings, own: Settings, members: Iterable[Member]) -> Settings:
    """Return what planes were told without what only the fleet and files know, so that it can be held against `own`."""
    told = msgspec.structs.replace(told, data_planes=own.data_planes, client_keys=own.client_keys)
    if told.kv_connector == resolved(own, members).kv_connector:
        told = msgspec.structs.replace(told, kv_connector=own.kv_connector)
    return told


def _closed(worker: Worker) -> None:
    """Say that a breaker is closed."""


def build(
    members: Iterable[Member], breaker_of: Callable[[Worker], Breaker | None] = _closed
) -> tuple[tuple[Worker, ...], tuple[ModelCard, ...]]:
    """Return the workers with their breakers, and the models that they serve.

    The first worker that has a model gives its card, whatever that worker's state, so that the card does not
    change each time a worker fails; where others tell something else, the card has what all agree in. Models stand in
    the order of the workers, then in each worker's own.
    """
    workers: list[Worker] = []
    models: dict[str, ModelCard] = {}
    first: dict[str, Facts] = {}
    others: dict[str, set[Facts]] = {}
    for member in members:
        if member.worker.state == "gone":
            continue
        breaker = breaker_of(member.worker)
        workers.append(member.worker if breaker is None else msgspec.structs.replace(member.worker, breaker=breaker))
        for model, card in member.cards.items():
            if model not in models:
                models[model] = ModelCard(id=model, card=card)
                first[model] = member.facts[model]
            elif (told := member.facts[model]) is not first[model]:
                others.setdefault(model, set()).add(told)
    for model, several in others.items():
        models[model] = ModelCard(id=model, card=agreed(models[model].card, several))
    return tuple(workers), tuple(models.values())
