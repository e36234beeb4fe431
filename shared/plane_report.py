"""What a plane tells of itself each second: its counters, and what became of the requests at each worker."""

from __future__ import annotations

import msgspec

from shared.plane_identity import PlaneIdentity
from shared.policy_places import PolicyPlace
from shared.table import Stamp


class CounterSeries(msgspec.Struct, frozen=True, array_like=True):
    """A sum since the plane started. `name` and the order of `labels` are those of `shared.catalog`."""

    name: str
    labels: tuple[str, ...]
    value: float


class HistogramSeries(msgspec.Struct, frozen=True, array_like=True):
    """Observations since the plane started: one count per bucket (not cumulative, the last is +Inf) and their sum.

    Families without buckets have that last count only.
    """

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    sum: float


MAX_EXEMPLARS = 256
"""Exemplars that a plane tells of: five models' buckets of both histograms that have such."""


class Exemplar(msgspec.Struct, frozen=True, array_like=True):
    """The last traced request in a bucket of a histogram: `name` and `labels` as those of `HistogramSeries`.

    `bucket` counts from 0, `trace` is the trace's id in 32 hex digits, `value` what was observed in seconds, `at` when
    in Unix time.
    """

    name: str
    labels: tuple[str, ...]
    bucket: int
    trace: str
    value: float
    at: float


class WorkerOutcomes(msgspec.Struct, frozen=True, array_like=True):
    """What became of a plane's requests at the present life (`epoch`) of a worker, since the plane knew of it.

    `answers` begun, of any status; requests that `succeeded` and that `failed` (`dataplane.outcomes` says which are
    neither); of the former the `streams`, with the sum of their seconds to the first byte.
    """

    epoch: int
    answers: int
    succeeded: int
    failed: int
    streams: int
    first_byte_seconds: float


MAX_LACKS = 32
"""Lacks that a plane tells of."""


class PolicyLack(msgspec.Struct, frozen=True, array_like=True):
    """An input that a policy's choices lacked in the last minute, `count` of them; `sentence` names the fallback."""

    place: PolicyPlace
    policy: str
    outcome: str
    sentence: str
    count: int


MAX_OPEN_PAIRS = 32
"""Pairs with an open breaker that a plane tells of."""


class OpenPair(msgspec.Struct, frozen=True, array_like=True):
    """A prefill and a decode worker (ids) that a plane leaves out for each other, tried again in `seconds`."""

    prefill: str
    decode: str
    seconds: float


class PairReport(msgspec.Struct, frozen=True, array_like=True):
    """Whether a plane finds a prefill and a decode worker for a request: `missing` says why not, empty when it does.

    `opened` counts the pairs that are `open`, of which only some are told.
    """

    missing: str = ""
    open: tuple[OpenPair, ...] = ()
    opened: int = 0


class CounterReport(msgspec.Struct, frozen=True, tag="counters", kw_only=True):
    """A plane's figures since it started, whole each time so that a lost report costs nothing.

    `active` is the number of client requests accepted and not ended; it belongs to the same instant as the
    counters, so accepted = finished + aborted + rejected + active holds in every report. Ages in seconds.
    Connections are those that are open, idle ones included. Keys of `outcomes` are worker ids. `kv_blocks` are those in
    the plane's copy of the KV index. `load_age` is that of the last load report, None before the first one.
    `retry_budget` is how many retries the plane could make at once. `lacks` tells what policies lacked, `pairs` of
    prefill and decode workers, where there are such. `exemplars` are there while requests are traced. `waits_for` is
    why the plane takes no clients yet, though it has a table: a file that it needs can not be used.
    """

    plane: PlaneIdentity
    seq: int
    active: int
    table: Stamp | None
    table_age: float
    stale: bool
    draining: bool
    waits_for: str
    resyncs: int
    inflight: dict[str, int]
    client_connections: int
    client_connection_limit: int
    worker_connections: int
    kv_blocks: int
    kv_resyncs: int
    load_age: float | None
    retry_budget: float
    counters: tuple[CounterSeries, ...]
    histograms: tuple[HistogramSeries, ...]
    outcomes: dict[str, WorkerOutcomes]
    lacks: tuple[PolicyLack, ...]
    pairs: PairReport | None
    exemplars: tuple[Exemplar, ...]
