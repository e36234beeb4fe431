"""The workers' figures of the last minutes: a ring for each worker, in which all have the same moments.

Packed as 4-byte floats: 2.4 KB a worker, so 10,000 of them take 24 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from math import isnan, nan
from typing import NamedTuple

import msgspec

INTERVAL = 5.0
"""Seconds between moments."""
MOMENTS = 120
"""10 minutes: what somebody asks for who has just been told that something is wrong."""


class Moment(NamedTuple):
    """A worker at one moment; NaN where it is not known.

    Requests in flight from this router, running and waiting in the engine; share of the KV cache in use (0..1);
    requests per second; seconds to the first byte (median).
    """

    inflight: float
    running: float = nan
    waiting: float = nan
    kv_usage: float = nan
    requests: float = nan
    first_byte: float = nan


WIDTH = len(Moment._fields)


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's figures, the oldest first: `figures` has a list for each field of `Moment`, null where not known.

    `times` are in Unix seconds.
    """

    times: tuple[float, ...]
    figures: dict[str, tuple[float | None, ...]]


class Histories:
    """The rings of all workers, by their ids."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._next = 0
        self._rings: dict[str, array[float]] = {}

    def note(self, wall: float, workers: Mapping[str, Moment]) -> None:
        """Add a moment, at `wall` in Unix seconds. Workers that it does not have are forgotten."""
        at = self._next
        self._next = (at + 1) % MOMENTS
        if len(self._times) < MOMENTS:
            self._times.append(wall)
        else:
            self._times[at] = wall
        for worker in [worker for worker in self._rings if worker not in workers]:
            del self._rings[worker]
        for worker, moment in workers.items():
            ring = self._rings.get(worker)
            if ring is None:
                ring = self._rings[worker] = array("f", (nan,)) * (MOMENTS * WIDTH)
            ring[at * WIDTH : (at + 1) * WIDTH] = array("f", moment)

    def of(self, worker: str) -> History:
        """Return a worker's figures; without moments where it is not known."""
        ring = self._rings.get(worker)
        if ring is None:
            return History(times=(), figures=dict.fromkeys(Moment._fields, ()))
        begin = self._next if len(self._times) == MOMENTS else 0
        order = [(begin + step) % MOMENTS for step in range(len(self._times))]
        order = order[next(step for step, at in enumerate(order) if not isnan(ring[at * WIDTH])) :]
        return History(
            times=tuple(self._times[at] for at in order),
            figures={
                name: tuple(_known(ring[at * WIDTH + place]) for at in order)
                for place, name in enumerate(Moment._fields)
            },
        )


def _known(value: float) -> float | None:
    return None if isnan(value) else round(value, 4)
