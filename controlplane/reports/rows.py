"""A row of the history: what was counted within some seconds. Pure: rows are differences of sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from controlplane.admission.standing import AdmissionStatus
from controlplane.figures.traffic import grown, histogram_grown
from controlplane.totals import HistogramTotal, Labels, Totals
from shared import catalog
from shared.table import Worker

MAX_LIMITS = 20
"""Limits in a row."""
MAX_REQUEST_KINDS = 500
"""Combinations of route, model, status and cause in a row; rarer ones are put together, without route and model."""


class Times(msgspec.Struct, array_like=True):
    """Observations per bucket (not cumulative; the last is +Inf) and their sum in seconds. Empty: there were none."""

    counts: list[int] = []
    sum: float = 0.0

    def add(self, other: Times) -> None:
        """Add another one's."""
        if len(self.counts) == len(other.counts):
            self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
            self.sum += other.sum
        elif not self.counts:
            # One of another version, with other buckets, is left out.
            self.counts, self.sum = list(other.counts), other.sum


class ModelRow(msgspec.Struct, array_like=True):
    """What a model's requests took: times (also of those that waited), tokens by `usage`, and seconds of workers.

    `cached_tokens` is None while no engine has told of its cache.
    """

    duration: Times
    first_token: Times
    token_gap: Times
    prompt_tokens: float
    output_tokens: float
    cached_tokens: float | None
    worker_seconds: float
    queue_wait: Times = msgspec.field(default_factory=lambda: Times())


class WorkerRow(msgspec.Struct, array_like=True):
    """What a worker did: requests sent to it, failures held against it, whole answers with the sum of their seconds.

    `first_bytes` counts the answers that came in parts, with the sum of the seconds to their first part.
    """

    role: str
    requests: float
    failures: float
    answers: int
    seconds: float
    first_bytes: int
    first_byte_seconds: float


class Row(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was counted in `seconds` until `time` (Unix seconds).

    `requests` are by route, model, status and cause, `disaggregated` by way (`shared.catalog`), `choices` by policy and
    what they rested on; `policy_tokens` are prompt and cached tokens by policy. `breakers` and `ejections` count by
    worker, and by state or cause. At most `active` requests were open at a time, of which at most `queued` waited for
    their turn; at its end `ready` of `members` workers were. `limits` are the fullest ones: by name, how much there is,
    and the most that was taken.
    """

    time: float
    seconds: float
    requests: list[tuple[str, str, str, str, float]] = []
    models: dict[str, ModelRow] = {}
    workers: dict[str, WorkerRow] = {}
    retries: dict[str, float] = {}
    retries_denied: dict[str, float] = {}
    disaggregated: dict[str, float] = {}
    choices: list[tuple[str, str, float]] = []
    policy_tokens: dict[str, tuple[float, float]] = {}
    breakers: list[tuple[str, str, int]] = []
    ejections: list[tuple[str, str, int]] = []
    active: int = 0
    ready: int = 0
    members: int = 0
    queued: int = 0
    limits: list[tuple[str, float, float]] = []


class Tally(NamedTuple):
    """How often something happened to a worker: worker, what, how often."""

    worker: str
    what: str
    times: int


class Sums(msgspec.Struct, kw_only=True):
    """All that was counted until `time` (Unix seconds)."""

    time: float
    totals: Totals
    breakers: tuple[Tally, ...] = ()
    ejections: tuple[Tally, ...] = ()


class Peaks:
    """The most that there was at a time, of all moments that were noted."""

    def __init__(self) -> None:
        self.active = self.queued = 0
        self._limits: dict[str, tuple[float, float]] = {}

    def note(self, active: int, admission: AdmissionStatus) -> None:
        """Take a moment in."""
        self.active = max(self.active, active)
        self.queued = max(self.queued, admission.waiting)
        for limit in admission.limits:
            if limit.in_use is not None:
                _, most = self._limits.get(limit.name, (0.0, 0.0))
                self._limits[limit.name] = limit.amount, max(most, limit.in_use)

    def fullest(self) -> list[tuple[str, float, float]]:
        """Return the limits that were fullest: by name, how much there is, and the most that was taken."""
        ordered = sorted(self._limits.items(), key=lambda one: -one[1][1] / one[1][0])
        return [(name, amount, most) for name, (amount, most) in ordered[:MAX_LIMITS]]


def row_between(
    old: Sums, new: Sums, workers: Mapping[str, Worker], *, seconds: float, peaks: Peaks | None = None
) -> Row:
    """Return what was counted in the `seconds` between two moments; `workers` are those of the table."""
    most = peaks or Peaks()
    changes = _Changes(old.totals, new.totals)
    return Row(
        time=round(new.time, 3),
        seconds=round(seconds, 3),
        requests=_requests(changes.of(catalog.REQUESTS)),
        models=_models(changes),
        workers=_workers(changes, workers),
        retries=changes.by_first(catalog.RETRIES),
        retries_denied=changes.by_first(catalog.RETRIES_DENIED),
        disaggregated=changes.by_first(catalog.DISAGGREGATED),
        choices=_choices(changes.of(catalog.POLICY_OUTCOMES)),
        policy_tokens=_policy_tokens(changes),
        breakers=_tallies(old.breakers, new.breakers),
        ejections=_tallies(old.ejections, new.ejections),
        active=max(new.totals.active, most.active),
        ready=sum(worker.state == "ready" for worker in workers.values()),
        members=len(workers),
        queued=most.queued,
        limits=most.fullest(),
    )


class _Changes:
    """What counters and histograms grew by; what did not grow is left out."""

    def __init__(self, old: Totals, new: Totals) -> None:
        self._old, self._new = old, new

    def of(self, metric: catalog.Metric) -> dict[Labels, float]:
        before = self._old.counters.get(metric.name, {})
        changes = {
            labels: grown(before.get(labels, 0.0), value)
            for labels, value in self._new.counters.get(metric.name, {}).items()
        }
        return {labels: _short(change) for labels, change in changes.items() if change}

    def by_first(self, metric: catalog.Metric) -> dict[str, float]:
        sums: dict[str, float] = {}
        for labels, change in self.of(metric).items():
            sums[labels[0]] = sums.get(labels[0], 0.0) + change
        return sums

    def known(self, metric: catalog.Metric) -> set[str]:
        """Return the first labels of a counter that was ever told, also where it did not grow."""
        return {labels[0] for labels in self._new.counters.get(metric.name, {})}

    def times(self, metric: catalog.Metric) -> dict[Labels, HistogramTotal]:
        before = self._old.histograms.get(metric.name, {})
        changes = {
            labels: histogram_grown(before.get(labels), total)
            for labels, total in self._new.histograms.get(metric.name, {}).items()
        }
        return {labels: change for labels, change in changes.items() if any(change.counts)}

    def times_by(self, metric: catalog.Metric, at: int) -> dict[str, Times]:
        """Return the times by one of the labels."""
        found: dict[str, Times] = {}
        for labels, total in self.times(metric).items():
            found.setdefault(labels[at], Times()).add(Times(list(total.counts), _short(total.sum)))
        return found


def _short(value: float) -> float:
    """Return what needs no more digits than it is worth: a row has thousands of numbers."""
    return round(value, 4)


def _requests(changes: Mapping[Labels, float]) -> list[tuple[str, str, str, str, float]]:
    sums: dict[tuple[str, str, str, str], float] = {}
    for (route, _, model, status, cause), count in changes.items():
        sums[route, model, status, cause] = sums.get((route, model, status, cause), 0.0) + count
    ordered = sorted(sums.items(), key=lambda one: -one[1])
    rest: dict[tuple[str, str, str, str], float] = {}
    for (_, _, status, cause), count in ordered[MAX_REQUEST_KINDS:]:
        kind = (catalog.OTHER, catalog.OTHER, status, cause)
        rest[kind] = rest.get(kind, 0.0) + count
    return [(*kind, count) for kind, count in (*ordered[:MAX_REQUEST_KINDS], *rest.items())]


def _models(changes: _Changes) -> dict[str, ModelRow]:
    duration = changes.times_by(catalog.LATENCY, 1)
    first_token = changes.times_by(catalog.FIRST_TOKEN, 0)
    token_gap = changes.times_by(catalog.TOKEN_GAP, 0)
    queue_wait = changes.times_by(catalog.QUEUE_WAIT, 0)
    prompt, output = changes.by_first(catalog.PROMPT_TOKENS), changes.by_first(catalog.OUTPUT_TOKENS)
    cached, seconds = changes.by_first(catalog.CACHED_TOKENS), changes.by_first(catalog.WORKER_SECONDS)
    tellers = changes.known(catalog.CACHED_TOKENS)
    return {
        model: ModelRow(
            duration=duration.get(model, Times()),
            first_token=first_token.get(model, Times()),
            token_gap=token_gap.get(model, Times()),
            prompt_tokens=prompt.get(model, 0.0),
            output_tokens=output.get(model, 0.0),
            cached_tokens=cached.get(model, 0.0) if model in tellers else None,
            worker_seconds=seconds.get(model, 0.0),
            queue_wait=queue_wait.get(model, Times()),
        )
        for model in dict.fromkeys((*queue_wait, *duration, *first_token, *prompt, *output, *seconds))
    }


def _workers(changes: _Changes, workers: Mapping[str, Worker]) -> dict[str, WorkerRow]:
    sent, failed = changes.by_first(catalog.WORKER_REQUESTS), changes.by_first(catalog.WORKER_FAILURES)
    answers, parts = changes.times(catalog.WORKER_DURATION), changes.times(catalog.WORKER_FIRST_BYTE)
    nothing = HistogramTotal([0], 0.0)
    found = {}
    for worker in dict.fromkeys((*sent, *failed, *(key for (key,) in answers), *(key for (key,) in parts))):
        whole, first = answers.get((worker,), nothing), parts.get((worker,), nothing)
        known = workers.get(worker)
        found[worker] = WorkerRow(
            role=known.role if known is not None else "",
            requests=sent.get(worker, 0.0),
            failures=failed.get(worker, 0.0),
            answers=sum(whole.counts),
            seconds=_short(whole.sum),
            first_bytes=sum(first.counts),
            first_byte_seconds=_short(first.sum),
        )
    return found


def _choices(changes: Mapping[Labels, float]) -> list[tuple[str, str, float]]:
    sums: dict[tuple[str, str], float] = {}
    for (policy, outcome, *_), count in changes.items():
        sums[policy, outcome] = sums.get((policy, outcome), 0.0) + count
    return [(policy, outcome, count) for (policy, outcome), count in sums.items()]


def _policy_tokens(changes: _Changes) -> dict[str, tuple[float, float]]:
    cached = changes.by_first(catalog.POLICY_CACHED_TOKENS)
    prompts = changes.by_first(catalog.POLICY_PROMPT_TOKENS)
    return {policy: (prompt, cached.get(policy, 0.0)) for policy, prompt in prompts.items()}


def _tallies(old: tuple[Tally, ...], new: tuple[Tally, ...]) -> list[tuple[str, str, int]]:
    before = {(worker, what): count for worker, what, count in old}
    changes = ((worker, what, int(grown(before.get((worker, what), 0), count))) for worker, what, count in new)
    return [change for change in changes if change[2]]
