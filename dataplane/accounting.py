"""What a plane counts, as plain numbers: adding is cheap, and the control plane sums over planes.

Every request is accounted once, by `finish`, `reject` or `abort`, so accepted = finished + aborted + rejected +
active holds whenever the figures are read, and `requests` has all that ended.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

from dataplane.histogram import Histogram, Timings
from dataplane.usage import Usage
from shared import catalog
from shared.catalog import Metric
from shared.errors import RouterError, Side
from shared.plane_report import CounterSeries, HistogramSeries

AbortedBy = Literal["client", "worker", "timeout", "shutdown"]


# A client that leaves is no failure.
_CUT_OFF: dict[AbortedBy, tuple[Side, str]] = {
    "worker": ("worker", "truncated"),
    "timeout": ("worker", "worker_timeout"),
    "shutdown": ("router", "shutdown"),
}
LEFT = "client_left"
"""The cause of a request's end that is in `requests` alone."""


class _Finished:
    """Requests of one kind that got a whole answer: they are most, so one look-up must do for them."""

    __slots__ = ("count", "first_byte", "latency")

    def __init__(self, latency: Histogram, first_byte: Histogram) -> None:
        self.count = 0
        self.latency = latency
        self.first_byte = first_byte


class Accounting:
    """All figures of one plane since it started.

    Keys of `requests` are route, method, model (all as labels), status (0: no answer) and cause; of `aborted_in`, who
    did it and in which phase. Labels of models come from `model_label`.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.finished = 0
        self.active = 0
        self.aborted_in: Counter[tuple[str, str]] = Counter()
        self.rejected: Counter[str] = Counter()
        self._finished: dict[tuple[str, str, str, int], _Finished] = {}
        self._unfinished: Counter[tuple[str, str, str, int, str]] = Counter()
        self.errors: Counter[tuple[Side, str]] = Counter()
        self.retries: Counter[str] = Counter()
        self.retries_denied: Counter[str] = Counter()
        self.spliced: Counter[str] = Counter()
        self.arm_requests: Counter[tuple[str, str, str]] = Counter()
        self.arm_duration: dict[tuple[str, str], Histogram] = {}
        self._arms: set[tuple[str, str]] = set()
        self.policy_outcomes: Counter[tuple[str, str, str, str]] = Counter()
        self.disaggregated: Counter[str] = Counter()
        self.pair_breakers: Counter[str] = Counter()
        self.policy_prompt_tokens: Counter[str] = Counter()
        self.policy_cached_tokens: Counter[str] = Counter()
        self.key_requests: Counter[tuple[str, str]] = Counter()
        self.key_prompt_tokens: Counter[str] = Counter()
        self.key_output_tokens: Counter[str] = Counter()
        # Counted for each request: adding to a Counter costs three times as much.
        self.worker_requests: dict[str, int] = defaultdict(int)
        self.prompt_tokens: dict[str, int] = defaultdict(int)
        self.output_tokens: dict[str, int] = defaultdict(int)
        self.cached_tokens: dict[str, int] = defaultdict(int)
        self.usage_told: dict[str, int] = defaultdict(int)
        self.worker_seconds: dict[str, float] = defaultdict(float)
        self.worker_failures: Counter[tuple[str, str]] = Counter()
        self.connections_opened: Counter[str] = Counter()
        self.latency: dict[tuple[str, str], Histogram] = {}
        self.first_byte: dict[str, Histogram] = {}
        self.first_token: dict[str, Histogram] = {}
        self.token_gap: dict[str, Histogram] = {}
        self.stream_pause: dict[str, Histogram] = {}
        self.legs: dict[str, Histogram] = {}
        self.queue_wait: dict[str, Histogram] = {}
        self.connect = Histogram(catalog.CONNECT.buckets)
        self._timings: dict[str, Timings] = {}
        self._models: dict[str | None, str] = {None: ""}
        self._keys: set[str] = set()

    @property
    def aborted(self) -> Counter[str]:
        """Aborted requests by who did it, over all phases."""
        sums: Counter[str] = Counter()
        for (by, _), count in self.aborted_in.items():
            sums[by] += count
        return sums

    @property
    def requests(self) -> Counter[tuple[str, str, str, int, str]]:
        """All that ended."""
        ended = self._unfinished.copy()
        for key, finished in self._finished.items():
            ended[(*key, "")] += finished.count
        return ended

    # --- requests ----------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Take a request in. Exactly one of the three that follow must end it."""
        self.accepted += 1
        self.active += 1

    def finish(self, route: str, method: str, status: int, duration: float, first_byte: float, model: str = "") -> None:
        """End a request that got a whole answer; times in seconds since its arrival."""
        self.active -= 1
        self.finished += 1
        key = (route, method if method in catalog.KNOWN_METHODS else catalog.OTHER, model, status)
        finished = self._finished.get(key)
        if finished is None:
            finished = self._finished[key] = self._finishing(route, model)
        finished.count += 1
        finished.latency.observe(duration)
        finished.first_byte.observe(first_byte)

    def _finishing(self, route: str, model: str) -> _Finished:
        latency = self.latency.setdefault((route, model), Histogram(catalog.LATENCY.buckets))
        return _Finished(latency, _of(self.first_byte, route, catalog.FIRST_BYTE))

    def reject(self, route: str, method: str, error: RouterError, model: str = "") -> None:
        """End a request that the router itself answered with an error."""
        self.active -= 1
        self.rejected[error.code] += 1
        self._unfinished[(route, catalog.method_label(method), model, error.status, error.code)] += 1
        self.errors[(error.blamed, error.code)] += 1

    def abort(
        self,
        by: AbortedBy,
        phase: str = "receiving",
        route: str = catalog.OTHER,
        method: str = catalog.OTHER,
        status: int = 0,
        model: str = "",
    ) -> None:
        """End a request whose client got no whole answer; `status` is what it did get."""
        self.active -= 1
        self.aborted_in[(by, phase)] += 1
        cause = LEFT
        if by != "client":
            cause = _CUT_OFF[by][1]
            self.errors[_CUT_OFF[by]] += 1
        self._unfinished[(route, catalog.method_label(method), model, status, cause)] += 1

    def streamed(self, model: str, first_token: float, longest_pause: float, gap: float, gaps: int) -> None:
        """Count a stream that came whole: `gaps` between its tokens, of `gap` seconds on average."""
        _of(self.first_token, model, catalog.FIRST_TOKEN).observe(first_token)
        if gaps > 0:
            _of(self.token_gap, model, catalog.TOKEN_GAP).observe(gap, gaps)
            _of(self.stream_pause, model, catalog.STREAM_PAUSE).observe(longest_pause)

    def used(self, model: str, usage: Usage) -> None:
        """Count what an answer said it took."""
        self.usage_told[model] += 1
        self.prompt_tokens[model] += usage.prompt
        self.output_tokens[model] += usage.output
        if usage.cached is not None:
            self.cached_tokens[model] += usage.cached

    def used_by_key(self, name: str, status: int, usage: Usage | None) -> None:
        """Count a request of a client's key that has ended; `status` is what the client got (0: nothing)."""
        label = name if name in self._keys else catalog.OTHER
        self.key_requests[(label, str(status or "none"))] += 1
        if usage is not None:
            self.key_prompt_tokens[label] += usage.prompt
            self.key_output_tokens[label] += usage.output

    def arm(self, name: str, arm: str, status: int, duration: float | None) -> None:
        """Count a request for a name of `[models]` that has ended; `status` 0: no answer; `duration` of a whole one."""
        key = (name, arm)
        if key not in self._arms:
            if len(self._arms) < catalog.MAX_ARMS:
                self._arms.add(key)
            else:
                key = (catalog.OTHER, catalog.OTHER)
        self.arm_requests[(*key, f"{status // 100}xx" if status else "none")] += 1
        if duration is not None:
            histogram = self.arm_duration.get(key)
            if histogram is None:
                histogram = self.arm_duration[key] = Histogram(catalog.ARM_DURATION.buckets)
            histogram.observe(duration)

    def waited(self, model: str | None, seconds: float) -> None:
        """Count a request that waited for its turn, and got it."""
        _of(self.queue_wait, self.model_label(model), catalog.QUEUE_WAIT).observe(seconds)

    def leg(self, name: str, seconds: float) -> None:
        """Count one half of a disaggregated request."""
        _of(self.legs, name, catalog.LEG).observe(seconds)

    # --- models and workers --------------------------------------------------------------------------------

    def know_models(self, models: Iterable[str]) -> None:
        """Give labels to the models that the fleet serves: as many as there may be, and for good."""
        for model in models:
            if len(self._models) > catalog.MAX_MODELS:
                return
            self._models.setdefault(model, model)

    def know_keys(self, names: Iterable[str]) -> None:
        """Give labels to clients' keys: as many as there may be, and for good."""
        for name in names:
            if len(self._keys) >= catalog.MAX_CLIENT_KEYS:
                return
            self._keys.add(name)

    def model_label(self, model: str | None) -> str:
        """Return the `model` label: empty for a request that names none, `other` for one that nobody serves."""
        return self._models.get(model, catalog.OTHER)

    def timings_of(self, worker: str) -> Timings:
        """Return where to count a worker's times, until it is forgotten."""
        return self._timings.setdefault(worker, Timings())

    def forget_workers(self, known: Collection[str]) -> None:
        """Drop the series of workers that left the table, so that they do not grow for ever."""
        for family in (self.worker_requests, self.connections_opened, self._timings):
            for worker in [worker for worker in family if worker not in known]:
                del family[worker]
        for key in [key for key in self.worker_failures if key[0] not in known]:
            del self.worker_failures[key]

    # --- the shape of the wire -----------------------------------------------------------------------------

    def counter_series(self) -> tuple[CounterSeries, ...]:
        """All counters, in the shape of the wire."""
        series = [
            CounterSeries(catalog.ACCEPTED.name, (), self.accepted),
            CounterSeries(catalog.FINISHED.name, (), self.finished),
        ]
        families: tuple[tuple[Metric, Mapping[str, float]], ...] = (
            (catalog.REJECTED, self.rejected),
            (catalog.RETRIES, self.retries),
            (catalog.RETRIES_DENIED, self.retries_denied),
            (catalog.SPLICED, self.spliced),
            (catalog.DISAGGREGATED, self.disaggregated),
            (catalog.PAIR_BREAKERS, self.pair_breakers),
            (catalog.PROMPT_TOKENS, self.prompt_tokens),
            (catalog.OUTPUT_TOKENS, self.output_tokens),
            (catalog.CACHED_TOKENS, self.cached_tokens),
            (catalog.USAGE_TOLD, self.usage_told),
            (catalog.WORKER_SECONDS, self.worker_seconds),
            (catalog.KEY_PROMPT_TOKENS, self.key_prompt_tokens),
            (catalog.KEY_OUTPUT_TOKENS, self.key_output_tokens),
            (catalog.POLICY_PROMPT_TOKENS, self.policy_prompt_tokens),
            (catalog.POLICY_CACHED_TOKENS, self.policy_cached_tokens),
            (catalog.WORKER_REQUESTS, self.worker_requests),
            (catalog.CONNECTIONS_OPENED, self.connections_opened),
        )
        for metric, family in families:
            series.extend(CounterSeries(metric.name, (label,), value) for label, value in family.items())
        for metric, pairs in (
            (catalog.ABORTED, self.aborted_in),
            (catalog.KEY_REQUESTS, self.key_requests),
            (catalog.POLICY_OUTCOMES, self.policy_outcomes),
            (catalog.ARM_REQUESTS, self.arm_requests),
            (catalog.ERRORS, self.errors),
            (catalog.WORKER_FAILURES, self.worker_failures),
        ):
            series.extend(CounterSeries(metric.name, labels, value) for labels, value in pairs.items())
        series.extend(
            CounterSeries(catalog.REQUESTS.name, (route, method, model, str(status or "none"), cause), value)
            for (route, method, model, status, cause), value in self.requests.items()
        )
        return tuple(series)

    def histogram_series(self) -> tuple[HistogramSeries, ...]:
        """All histograms, in the shape of the wire."""
        return tuple(self._histograms())

    def _histograms(self) -> Iterator[HistogramSeries]:
        for metric, pairs in ((catalog.LATENCY, self.latency), (catalog.ARM_DURATION, self.arm_duration)):
            for key, latency in pairs.items():
                yield HistogramSeries(metric.name, key, tuple(latency.counts), latency.sum)
        for metric, family in (
            (catalog.FIRST_BYTE, self.first_byte),
            (catalog.FIRST_TOKEN, self.first_token),
            (catalog.TOKEN_GAP, self.token_gap),
            (catalog.STREAM_PAUSE, self.stream_pause),
            (catalog.LEG, self.legs),
            (catalog.QUEUE_WAIT, self.queue_wait),
        ):
            for label, histogram in family.items():
                yield HistogramSeries(metric.name, (label,), tuple(histogram.counts), histogram.sum)
        if self.connect.sum or any(self.connect.counts):
            yield HistogramSeries(catalog.CONNECT.name, (), tuple(self.connect.counts), self.connect.sum)
        for worker, times in self._timings.items():
            if times.answers:
                yield HistogramSeries(catalog.WORKER_DURATION.name, (worker,), (times.answers,), times.seconds)
            if any(times.first_byte.counts):
                told = tuple(times.first_byte.counts)
                yield HistogramSeries(catalog.WORKER_FIRST_BYTE.name, (worker,), told, times.first_byte.sum)


def _of(family: dict[str, Histogram], label: str, metric: Metric) -> Histogram:
    histogram = family.get(label)
    if histogram is None:
        histogram = family[label] = Histogram(metric.buckets)
    return histogram
