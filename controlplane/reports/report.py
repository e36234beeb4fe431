"""A report: what rows add up to. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from controlplane.events.event import Event
from controlplane.figures.quantiles import Quantiles, quantiles
from controlplane.figures.traffic import LEFT, is_failure
from controlplane.reports.rows import ModelRow, Row, Times, WorkerRow
from controlplane.reports.shapes import (
    Balance,
    Cached,
    ErrorCount,
    Latency,
    LimitUse,
    ModelCost,
    Point,
    PolicyUse,
    Report,
    Traffic,
    WorkerShare,
)
from shared import catalog

MAX_POINTS = 120
MAX_WORKERS = 10_000
MAX_MODELS = 1_000
MAX_LIMITS = 1_000
MAX_EVENTS = 200
"""Bounds of a report, whatever came and went in its time; what is beyond them is only in the sums."""
_EVENTS_ABOUT = ("breaker", "worker")
"""Of processes only what went wrong is told: those that come and go as they should are in `routerctl events`."""


def make_report(rows: Iterable[Row], events: Iterable[Event], since: float, until: float) -> Report:
    """Return the report of the rows that end within a time; `since` 0 begins with the first of them."""
    sums = _Sums(since, until)
    for row in rows:
        if since < row.time <= until:
            sums.add(row)
    return sums.report([event for event in events if _is_told(event) and event.time <= until])


def _is_told(event: Event) -> bool:
    return event.kind in _EVENTS_ABOUT or (event.kind == "process" and event.level != "info")


class _Times:
    def __init__(self) -> None:
        self.duration, self.first_token, self.token_gap, self.queue_wait = Times(), Times(), Times(), Times()

    def add(self, row: ModelRow) -> None:
        self.duration.add(row.duration)
        self.first_token.add(row.first_token)
        self.token_gap.add(row.token_gap)
        self.queue_wait.add(row.queue_wait)

    def latency(self) -> Latency:
        return Latency(
            duration=_quantiles(self.duration, catalog.LATENCY),
            first_token=_quantiles(self.first_token, catalog.FIRST_TOKEN),
            token_gap=_quantiles(self.token_gap, catalog.TOKEN_GAP),
            queue_wait=_quantiles(self.queue_wait, catalog.QUEUE_WAIT),
        )


class _Model(_Times):
    def __init__(self) -> None:
        super().__init__()
        self.requests = self.failed = 0.0
        self.prompt = self.output = self.seconds = 0.0
        self.cached: float | None = None

    def add(self, row: ModelRow) -> None:
        super().add(row)
        self.prompt += row.prompt_tokens
        if row.cached_tokens is not None:
            self.cached = (self.cached or 0.0) + row.cached_tokens
        self.output += row.output_tokens
        self.seconds += row.worker_seconds


class _Limit:
    def __init__(self) -> None:
        self.rows = 0
        self.amount = self.most = self._sum = 0.0

    @property
    def mean(self) -> float:
        return self._sum / self.rows if self.rows else 0.0

    def add(self, amount: float, in_use: float) -> None:
        part = in_use / amount if amount else 0.0
        self.rows += 1
        self.amount = amount
        self._sum += part
        self.most = max(self.most, round(part, 4))


class _Part(_Times):
    """Rows that make one point."""

    def __init__(self) -> None:
        super().__init__()
        self.time = self.seconds = self.requests = self.failures = self.prompt = self.output = 0.0
        self.active = self.ready = 0

    def point(self) -> Point:
        seconds = self.seconds or 1.0
        duration = _quantiles(self.duration, catalog.LATENCY)
        first_token = _quantiles(self.first_token, catalog.FIRST_TOKEN)
        return Point(
            time=self.time,
            seconds=round(self.seconds, 3),
            requests=round(self.requests / seconds, 3),
            failures=round(self.failures / seconds, 3),
            prompt_tokens=round(self.prompt / seconds, 3),
            output_tokens=round(self.output / seconds, 3),
            duration_p50=duration.p50 if duration is not None else None,
            duration_p95=duration.p95 if duration is not None else None,
            first_token_p50=first_token.p50 if first_token is not None else None,
            first_token_p95=first_token.p95 if first_token is not None else None,
            active=self.active,
            ready=self.ready,
        )


class _Sums:
    """Takes rows one after the other, so that they need not be in memory at once."""

    def __init__(self, since: float, until: float) -> None:
        self._since, self._until = since, until
        self._known = 0.0
        self._most_active = self._most_queued = 0
        self._limits: dict[str, _Limit] = {}
        self._ends: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._times = _Times()
        self._models: dict[str, _Model] = {}
        self._workers: dict[str, WorkerRow] = {}
        self._retries: defaultdict[str, float] = defaultdict(float)
        self._denied: defaultdict[str, float] = defaultdict(float)
        self._ways: defaultdict[str, float] = defaultdict(float)
        self._choices: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._policy_tokens: dict[str, tuple[float, float]] = {}
        self._opened: defaultdict[str, int] = defaultdict(int)
        self._ejected: defaultdict[str, int] = defaultdict(int)
        self._parts: dict[int, _Part] = {}
        self._prompt = self._output = 0.0
        self._cached: tuple[float, float] | None = None

    def add(self, row: Row) -> None:
        if not self._since:
            self._since = row.time - row.seconds
        self._known += row.seconds
        self._most_active = max(self._most_active, row.active)
        self._most_queued = max(self._most_queued, row.queued)
        for name, amount, in_use in row.limits:
            if name in self._limits or len(self._limits) < MAX_LIMITS:
                self._limits.setdefault(name, _Limit()).add(amount, in_use)
        part = self._part(row)
        for _, model, status, cause, count in row.requests:
            self._ends[status, cause] += count
            part.requests += count
            failed = count if is_failure(status, cause) else 0.0
            part.failures += failed
            if (known := self._model(model)) is not None:
                known.requests += count
                known.failed += failed
        for name, model_row in row.models.items():
            self._times.add(model_row)
            part.add(model_row)
            part.prompt += model_row.prompt_tokens
            part.output += model_row.output_tokens
            self._prompt += model_row.prompt_tokens
            self._output += model_row.output_tokens
            if model_row.cached_tokens is not None:
                before = self._cached or (0.0, 0.0)
                self._cached = before[0] + model_row.prompt_tokens, before[1] + model_row.cached_tokens
            if (known := self._model(name)) is not None:
                known.add(model_row)
        for worker, worker_row in row.workers.items():
            self._add_worker(worker, worker_row)
        for sums, told_counts in (
            (self._retries, row.retries),
            (self._denied, row.retries_denied),
            (self._ways, row.disaggregated),
        ):
            for name, count in told_counts.items():
                sums[name] += count
        for policy, outcome, count in row.choices:
            self._choices[policy, outcome] += count
        for policy, (prompt, cached) in row.policy_tokens.items():
            found = self._policy_tokens.get(policy, (0.0, 0.0))
            self._policy_tokens[policy] = (found[0] + prompt, found[1] + cached)
        for worker, state, times in row.breakers:
            self._opened[worker] += times if state == "open" else 0
        for worker, _, times in row.ejections:
            self._ejected[worker] += times

    def _part(self, row: Row) -> _Part:
        width = max(1e-3, (self._until - self._since) / MAX_POINTS)
        place = min(MAX_POINTS - 1, int((row.time - self._since) / width))
        part = self._parts.setdefault(place, _Part())
        part.time = max(part.time, row.time)
        part.seconds += row.seconds
        part.active = max(part.active, row.active)
        part.ready = row.ready
        return part

    def _model(self, name: str) -> _Model | None:
        if name not in self._models and len(self._models) >= MAX_MODELS:
            return None
        return self._models.setdefault(name, _Model())

    def _add_worker(self, worker: str, row: WorkerRow) -> None:
        if (known := self._workers.get(worker)) is None:
            if len(self._workers) < MAX_WORKERS:
                self._workers[worker] = msgspec.structs.replace(row)
            return
        known.role = row.role or known.role
        known.requests += row.requests
        known.failures += row.failures
        known.answers += row.answers
        known.seconds += row.seconds
        known.first_bytes += row.first_bytes
        known.first_byte_seconds += row.first_byte_seconds

    def report(self, events: list[Event]) -> Report:
        prompt, cached = self._cached or (0.0, 0.0)
        return Report(
            since=round(self._since or self._until, 3),
            until=round(self._until, 3),
            known_seconds=round(self._known, 3),
            traffic=self._traffic(),
            latency=self._times.latency(),
            errors=self._errors(),
            models=self._costs(),
            workers=self._shares(),
            balance=self._balance(),
            policies=self._policies(),
            limits=self._limit_uses(),
            cached=Cached(prompt_tokens=round(prompt), cached_tokens=round(cached)) if prompt else None,
            cached_part=round(cached / prompt, 4) if prompt else None,
            points=tuple(part.point() for _, part in sorted(self._parts.items())),
            events=tuple(events[-MAX_EVENTS:]),
        )

    def _traffic(self) -> Traffic:
        total = sum(self._ends.values())
        failed = sum(count for end, count in self._ends.items() if is_failure(*end))
        left = sum(count for (_, cause), count in self._ends.items() if cause == LEFT)
        refused = sum(
            count
            for (status, cause), count in self._ends.items()
            if status.startswith("4") and cause != LEFT and not is_failure(status, cause)
        )
        return Traffic(
            requests=round(total),
            rate=round(total / self._known, 3) if self._known else 0.0,
            answered=round(total - failed - left - refused),
            refused=round(refused),
            failed=round(failed),
            left=round(left),
            most_active=self._most_active,
            most_queued=self._most_queued,
            prompt_tokens=round(self._prompt),
            output_tokens=round(self._output),
            retries=_rounded(self._retries),
            retries_denied=_rounded(self._denied),
            disaggregated=_rounded(self._ways),
        )

    def _limit_uses(self) -> tuple[LimitUse, ...]:
        ordered = sorted(self._limits.items(), key=lambda one: (-one[1].mean, one[0]))
        return tuple(
            LimitUse(
                limit=name, amount=limit.amount, rows=limit.rows, mean_part=round(limit.mean, 4), most_part=limit.most
            )
            for name, limit in ordered
        )

    def _errors(self) -> tuple[ErrorCount, ...]:
        wrong = {end: count for end, count in self._ends.items() if end[1] or not end[0].startswith(("2", "3"))}
        ordered = sorted(wrong.items(), key=lambda one: -one[1])
        return tuple(ErrorCount(cause=end[1], status=end[0], count=round(count)) for end, count in ordered)

    def _costs(self) -> tuple[ModelCost, ...]:
        ordered = sorted(self._models.items(), key=lambda one: -one[1].seconds)
        return tuple(
            ModelCost(
                model=name,
                requests=round(model.requests),
                failed=round(model.failed),
                prompt_tokens=round(model.prompt),
                cached_tokens=round(model.cached) if model.cached is not None else None,
                output_tokens=round(model.output),
                worker_seconds=round(model.seconds, 3),
                latency=model.latency(),
            )
            for name, model in ordered
        )

    def _shares(self) -> tuple[WorkerShare, ...]:
        sums: defaultdict[str, float] = defaultdict(float)
        for row in self._workers.values():
            sums[row.role] += row.requests
        ordered = sorted(self._workers.items(), key=lambda one: (-one[1].requests, one[0]))
        return tuple(
            WorkerShare(
                worker=worker,
                role=row.role,
                requests=round(row.requests),
                share=round(row.requests / sums[row.role], 4) if sums[row.role] else 0.0,
                failures=round(row.failures),
                answers=row.answers,
                busy_seconds=round(row.seconds, 3),
                mean_seconds=round(row.seconds / row.answers, 4) if row.answers else None,
                mean_first_byte=round(row.first_byte_seconds / row.first_bytes, 4) if row.first_bytes else None,
                breaker_opened=self._opened.get(worker, 0),
                ejected=self._ejected.get(worker, 0),
            )
            for worker, row in ordered
        )

    def _balance(self) -> tuple[Balance, ...]:
        roles: defaultdict[str, list[float]] = defaultdict(list)
        for row in self._workers.values():
            roles[row.role].append(row.requests)
        return tuple(
            Balance(
                role=role,
                workers=len(counts),
                requests=round(sum(counts)),
                most_over_mean=round(max(counts) * len(counts) / sum(counts), 3),
            )
            for role, counts in sorted(roles.items())
            if sum(counts)
        )

    def _policies(self) -> tuple[PolicyUse, ...]:
        names = dict.fromkeys((*(policy for policy, _ in self._choices), *self._policy_tokens))
        return tuple(
            PolicyUse(
                policy=name,
                choices={outcome: round(count) for (policy, outcome), count in self._choices.items() if policy == name},
                prompt_tokens=round(self._policy_tokens.get(name, (0.0, 0.0))[0]),
                cached_tokens=round(self._policy_tokens.get(name, (0.0, 0.0))[1]),
            )
            for name in names
        )


def _rounded(sums: dict[str, float]) -> dict[str, int]:
    return {name: round(count) for name, count in sums.items()}


def _quantiles(times: Times, metric: catalog.Metric) -> Quantiles | None:
    # Another version's buckets can not be told apart by anything but their number.
    return quantiles(times.counts, times.sum, metric.buckets) if len(times.counts) == len(metric.buckets) + 1 else None
