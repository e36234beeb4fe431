"""What a report tells. Counts are of the whole time, times in seconds."""

from __future__ import annotations

import msgspec

from controlplane.events.event import Event
from controlplane.figures.quantiles import Quantiles


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that ended: `answered` whole and below 400, `refused` with 4xx, `failed`, or their clients `left`.

    `rate` is per second. `most_active` is the most that were seen open at a time, `most_queued` that waited: by a look
    each second, so there may have been more in between. `disaggregated` has by how many workers requests for prefill
    and decode workers were done (`routerctl_disaggregated_requests_total`).
    """

    requests: int
    rate: float
    answered: int
    refused: int
    failed: int
    left: int
    most_active: int
    most_queued: int
    prompt_tokens: int
    output_tokens: int
    retries: dict[str, int]
    retries_denied: dict[str, int]
    disaggregated: dict[str, int]


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds: of whole requests, to a stream's first token, between tokens, and of those that waited."""

    duration: Quantiles | None
    first_token: Quantiles | None
    token_gap: Quantiles | None
    queue_wait: Quantiles | None


class ErrorCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often requests ended so; `status` is what the client got (or none), `cause` empty for a worker's own."""

    cause: str
    status: str
    count: int


class ModelCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a model cost: requests, tokens, and the time that workers had its requests.

    `cached_tokens` is None where no engine told of its cache.
    """

    model: str
    requests: int
    failed: int
    prompt_tokens: int
    cached_tokens: int | None
    output_tokens: int
    worker_seconds: float
    latency: Latency


class WorkerShare(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker did, and its part (0 to 1) of its role's requests. `busy_seconds` are summed over its answers."""

    worker: str
    role: str
    requests: int
    share: float
    failures: int
    answers: int
    busy_seconds: float
    mean_seconds: float | None
    mean_first_byte: float | None
    breaker_opened: int
    ejected: int


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """How evenly the workers of a role had requests: the most that one had over the mean."""

    role: str
    workers: int
    requests: int
    most_over_mean: float


class PolicyUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy's choices rested on, and how many prompt tokens it found in the chosen workers' caches."""

    policy: str
    choices: dict[str, int]
    prompt_tokens: int
    cached_tokens: int


class Cached(msgspec.Struct, frozen=True, kw_only=True):
    """Prompt tokens of the models whose engines tell of their caches, and how many of them were cached."""

    prompt_tokens: int
    cached_tokens: int


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """How full a limit was (0 to 1): the mean of so many `rows`' most, and at most. `amount` is the last."""

    limit: str
    amount: float
    rows: int
    mean_part: float
    most_part: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a part of the time that ends at `time` (Unix seconds); all but times and counts per second."""

    time: float
    seconds: float
    requests: float
    failures: float
    prompt_tokens: float
    output_tokens: float
    duration_p50: float | None
    duration_p95: float | None
    first_token_p50: float | None
    first_token_p95: float | None
    active: int
    ready: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it, from `since` until `until` (Unix seconds), of which `known_seconds` are in rows.

    `workers` has those with the most requests first, `models` those with the most worker seconds. `cached` is what
    engines had in their caches, as `usage` tells it, and `cached_part` its part of the prompts' tokens; None where none
    told of it.
    """

    since: float
    until: float
    known_seconds: float
    traffic: Traffic
    latency: Latency
    errors: tuple[ErrorCount, ...]
    models: tuple[ModelCost, ...]
    workers: tuple[WorkerShare, ...]
    balance: tuple[Balance, ...]
    policies: tuple[PolicyUse, ...]
    limits: tuple[LimitUse, ...]
    cached: Cached | None
    cached_part: float | None
    points: tuple[Point, ...]
    events: tuple[Event, ...]
