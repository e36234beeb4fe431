"""The routing table: what the control plane publishes and every plane pins for a request.

A table is an immutable value: workers, models and settings, stamped with the publisher's life (`epoch`),
a count of changes in that life (`version`) and a hash of the content. Changes travel as differences, so
the hash is one that can be carried forward: the sum, modulo 2**64, of a 64-bit BLAKE2b digest per record
(Bellare and Micciancio's AdHash). Replacing a record costs two digests, however large the table is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from shared.client_keys import ClientKey
from shared.model_rules import ModelRule
from shared.transfer import Transfer

Role = Literal["regular", "prefill", "decode"]
WorkerState = Literal["starting", "ready", "draining", "unhealthy", "ejected", "gone"]
BreakerState = Literal["closed", "half-open", "open"]

DEFAULT_WEIGHT = 1.0
DEFAULT_PRIORITY = 50
"""vllm-router's default; higher is preferred, as there."""
_HASH_SPACE = 1 << 64


def _as_floats(record: msgspec.Struct, *names: str) -> None:
    """Turn ints given for float fields into floats: both sides of the wire must hash the same bytes."""
    for name in names:
        if isinstance(value := getattr(record, name), int):
            msgspec.structs.force_setattr(record, name, float(value))


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's circuit breaker that is not closed (`shared.breaker`).

    `plane` is the id of the one plane that may send a probe ("": none yet); `since` is when the breaker left
    closed, in Unix seconds.
    """

    state: BreakerState
    reason: str = ""
    since: float = 0.0
    plane: str = ""

    def __post_init__(self) -> None:
        _as_floats(self, "since")


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """One server that requests are forwarded to.

    `id` is unique in a table: the URL as given, or `URL@rank` of a worker that is one data-parallel `rank` of the
    engines there (`shared.worker_rank`). `epoch` counts the lives of the worker behind that
    id: figures of an earlier life say nothing about this one. `models` is None until the worker has told
    them; such a worker may serve any model. `since` is Unix time in seconds, and so is `process_start`, which
    the server tells of itself (None: not yet, or never): a control plane that was away sees by it whether the
    worker was restarted meanwhile. `breaker` is None while closed.

    `weight` is its share of the requests against the others of its `priority`; those of a higher priority are used
    first, those of weight 0 last (`dataplane.priority`). `capacity` is how many requests it takes well at a time, None
    when that is not known; `max_concurrent_requests` how many it may have, None: as the settings have it for all, 0: no
    limit. Nothing is chosen by `labels`. `version` is the server's own, as it told it; `transfer` is
    how it moves KV cache, None while nothing is known of that.
    """

    id: str
    url: str
    rank: int | None = None
    epoch: int = 1
    role: Role = "regular"
    state: WorkerState = "starting"
    reason: str = ""
    since: float = 0.0
    models: tuple[str, ...] | None = None
    process_start: float | None = None
    breaker: Breaker | None = None
    labels: dict[str, str] = {}
    weight: float = DEFAULT_WEIGHT
    capacity: float | None = None
    max_concurrent_requests: int | None = None
    priority: int = DEFAULT_PRIORITY
    version: str | None = None
    transfer: Transfer | None = None

    def __post_init__(self) -> None:
        _as_floats(self, "since", "process_start", "weight", "capacity")


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the fleet serves; `card` is its entry of `/v1/models` as the first worker that has it gave it."""

    id: str
    card: bytes


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What planes must agree on and what may change while they run. Times are in seconds, sizes in bytes."""

    policy: str = "cache_aware"
    prefill_policy: str | None = None
    decode_policy: str | None = None
    """None, as above: that for all requests."""
    model_policies: dict[str, str] = {}
    models: dict[str, ModelRule] = {}
    forward_unknown_models: bool = False
    load_formula: str = "vllm"
    session_headers: tuple[str, ...] = ("x-session-id", "x-user-id", "x-tenant-id")
    session_max_load: float = 1.25
    session_ttl: float = 7200.0
    cache_threshold: float = 0.3
    balance_abs_threshold: int = 64
    balance_rel_threshold: float = 1.5
    max_tree_size: int = 33_554_432
    eviction_interval: float = 120.0
    prefix_index_size: int = 67_108_864
    tokenizer: tuple[str, ...] = ()
    """`[MODEL=]FOLDER`, absolute."""
    kv_event_model: str | None = None
    kv_credits: tuple[float, float, float, float] = (1.0, 0.8, 0.6, 0.3)
    """What a cached token is worth by its tier (`shared.kv_messages`), the device first."""
    router_temperature: float = 0.0
    kv_session_ttl: float = 0.0
    data_planes: int = 1
    connect_timeout: float = 10.0
    request_timeout: float = 1800.0
    response_header_timeout: float = 0.0
    stream_idle_timeout: float = 300.0
    client_body_timeout: float = 60.0
    client_write_timeout: float = 60.0
    max_attempts: int = 5
    retry_initial_backoff: float = 0.05
    retry_max_backoff: float = 30.0
    retry_backoff_multiplier: float = 1.5
    retry_jitter_factor: float = 0.2
    circuit_breaker: bool = True
    cb_failure_threshold: int = 10
    cb_success_threshold: int = 3
    cb_timeout: float = 60.0
    cb_window: float = 120.0
    max_ejection_percent: int = 50
    slow_start: float = 30.0
    load_header: bool = True
    disaggregated: bool = False
    kv_connector: str = "nixl"
    pd_fallback: bool = True
    pd_bypass_tokens: int = 0
    prefill_timeout: float = 300.0
    decode_first_byte_timeout: float = 120.0
    decode_token_timeout: float = 1.0
    max_payload_size: int = 536_870_912
    strict_paths: bool = False
    refuse_client_rank: bool = False
    trust_kv_transfer_params: bool = False
    request_id_headers: tuple[str, ...] = ("x-request-id", "x-correlation-id", "x-trace-id", "request-id")
    worker_ca_file: str | None = None
    """A path, absolute as all of them here: planes may have been started in another folder."""
    worker_client_cert: str | None = None
    worker_client_key: str | None = None
    worker_server_name: str | None = None
    worker_key_file: str | None = None
    client_keys: tuple[ClientKey, ...] | None = None
    """None: nobody is asked for one. Empty: nobody has one."""
    trusted_proxies: tuple[str, ...] = ()
    cors_allowed_origins: tuple[str, ...] = ()
    expose_worker: bool = False
    mvllm_compat: bool = False
    explain: bool = False
    receipts: int = 4096
    admin_on_main: bool = True
    log_level: str = "info"
    access_log: str = "errors"
    log_prompts: bool = False
    otlp_traces_endpoint: str | None = None
    otel_sampling_ratio: float = 1.0
    max_concurrent_requests: int = 0
    """0: no limit; so is 0 of `rate_limit`, in requests per second."""
    rate_limit: float = 0.0
    queue_size: int = 100
    queue_timeout: float = 60.0
    preempt_batch: bool = False
    model_limits: dict[str, int] = {}
    """Requests at a time, by model."""
    worker_max_concurrent_requests: int = 0
    """At each worker that has no limit of its own. 0: no limit."""
    adaptive_worker_limit: bool = False
    """The control plane lends less than those limits, as workers take it well."""

    def __post_init__(self) -> None:
        _as_floats(
            self,
            "connect_timeout",
            "request_timeout",
            "response_header_timeout",
            "stream_idle_timeout",
            "client_body_timeout",
            "client_write_timeout",
            "retry_initial_backoff",
            "retry_max_backoff",
            "retry_backoff_multiplier",
            "retry_jitter_factor",
            "cb_timeout",
            "cb_window",
            "slow_start",
            "session_max_load",
            "session_ttl",
            "cache_threshold",
            "balance_rel_threshold",
            "eviction_interval",
            "router_temperature",
            "kv_session_ttl",
            "prefill_timeout",
            "decode_first_byte_timeout",
            "otel_sampling_ratio",
            "decode_token_timeout",
            "rate_limit",
            "queue_timeout",
        )
        if any(isinstance(credit, int) for credit in self.kv_credits):
            msgspec.structs.force_setattr(self, "kv_credits", tuple(map(float, self.kv_credits)))


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """Which table a frame belongs to: publisher's life, number of changes in it, hash of the content."""

    epoch: int
    version: int
    hash: int

    @property
    def order(self) -> tuple[int, int]:
        """Sorts stamps by age; a later publisher's tables are newer whatever their version."""
        return (self.epoch, self.version)


class RoutingTable(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the table. Never change the mappings in place: derive a new table with `apply`."""

    stamp: Stamp
    workers: dict[str, Worker]
    models: dict[str, ModelCard]
    settings: Settings


def is_disaggregated(table: RoutingTable) -> bool:
    """Whether there is prefill/decode: it was asked for, or some worker has such a role."""
    return table.settings.disaggregated or any(worker.role != "regular" for worker in table.workers.values())


class TableChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The difference between two tables. `settings` is None when they did not change."""

    upsert_workers: tuple[Worker, ...] = ()
    remove_workers: tuple[str, ...] = ()
    upsert_models: tuple[ModelCard, ...] = ()
    remove_models: tuple[str, ...] = ()
    settings: Settings | None = None

    def __bool__(self) -> bool:
        return bool(
            self.upsert_workers
            or self.remove_workers
            or self.upsert_models
            or self.remove_models
            or self.settings is not None
        )


Record = Worker | ModelCard | Settings

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def record_hash(record: Record) -> int:
    """64-bit digest of one record; the class name keeps a model and a worker of one name apart."""
    digest = hashlib.blake2b(type(record).__name__.encode(), digest_size=8)
    digest.update(_encode(record))
    return int.from_bytes(digest.digest(), "big")


def content_hash(workers: Mapping[str, Worker], models: Mapping[str, ModelCard], settings: Settings) -> int:
    """Hash of a table's content, computed from nothing. `apply` carries it forward instead."""
    total = record_hash(settings)
    total += sum(map(record_hash, workers.values()))
    total += sum(map(record_hash, models.values()))
    return total % _HASH_SPACE


def make_table(
    *,
    epoch: int,
    version: int,
    workers: Iterable[Worker] = (),
    models: Iterable[ModelCard] = (),
    settings: Settings | None = None,
) -> RoutingTable:
    """Build a table with its hash."""
    by_id = {worker.id: worker for worker in workers}
    cards = {model.id: model for model in models}
    settings = settings or Settings()
    stamp = Stamp(epoch, version, content_hash(by_id, cards, settings))
    return RoutingTable(stamp=stamp, workers=by_id, models=cards, settings=settings)


def diff(old: RoutingTable, new: RoutingTable) -> TableChange:
    """Return what turns the content of `old` into that of `new`; falsy when there is nothing."""
    return TableChange(
        upsert_workers=tuple(w for key, w in new.workers.items() if old.workers.get(key) != w),
        remove_workers=tuple(key for key in old.workers if key not in new.workers),
        upsert_models=tuple(m for key, m in new.models.items() if old.models.get(key) != m),
        remove_models=tuple(key for key in old.models if key not in new.models),
        settings=new.settings if new.settings != old.settings else None,
    )


def apply(table: RoutingTable, change: TableChange) -> RoutingTable:
    """Return the next version of `table`, its hash carried forward. Costs digests for changed records only.

    Raises KeyError when the change removes what the table does not have: it was made for another table.
    """
    total = table.stamp.hash
    workers = dict(table.workers)
    models = dict(table.models)
    settings = table.settings
    for key in change.remove_workers:
        total -= record_hash(workers.pop(key))
    for worker in change.upsert_workers:
        if (old_worker := workers.get(worker.id)) is not None:
            total -= record_hash(old_worker)
        total += record_hash(worker)
        workers[worker.id] = worker
    for key in change.remove_models:
        total -= record_hash(models.pop(key))
    for model in change.upsert_models:
        if (old_model := models.get(model.id)) is not None:
            total -= record_hash(old_model)
        total += record_hash(model)
        models[model.id] = model
    if change.settings is not None:
        total += record_hash(change.settings) - record_hash(settings)
        settings = change.settings
    stamp = Stamp(table.stamp.epoch, table.stamp.version + 1, total % _HASH_SPACE)
    return RoutingTable(stamp=stamp, workers=workers, models=models, settings=settings)
