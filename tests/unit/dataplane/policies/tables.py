"""Tables of ready workers, for policies to follow."""

from __future__ import annotations

import random
from typing import Any

from dataplane.load import Figures
from dataplane.policies import PlaneView
from dataplane.policies.conformance import IDLE, SampleCandidate
from shared.table import ModelCard, RoutingTable, Settings, Worker, make_table

MODEL = "m"


def table(*workers: str, epochs: dict[str, int] | None = None, version: int = 1, **settings: Any) -> RoutingTable:
    """A table of these workers, all ready for the model."""
    records = [
        Worker(id=name, url=name, epoch=(epochs or {}).get(name, 1), state="ready", models=(MODEL,)) for name in workers
    ]
    return make_table(
        epoch=1,
        version=version,
        workers=records,
        models=[ModelCard(id=MODEL, card=b"{}")],
        settings=Settings(**settings),
    )


def names(count: int) -> tuple[str, ...]:
    return tuple(f"w{number}" for number in range(count))


def busy(load: float) -> Figures:
    return IDLE._replace(running=float(load))


def candidates(*workers: str, loads: dict[str, float] | None = None, epoch: int = 1) -> tuple[SampleCandidate, ...]:
    return tuple(SampleCandidate(name, epoch, busy((loads or {}).get(name, 0.0))) for name in workers)


def plane(slot: int = 0) -> PlaneView:
    return PlaneView(slot, random.Random(slot))
