"""What an engine counts about itself: the figures behind `/metrics`."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

STEP_BUCKETS: Final = (1.0, *(float(2**power) for power in range(3, 15)))
COUNT_BUCKETS: Final = (1.0, 2.0, 5.0, 10.0, 20.0)
PREEMPTION_BUCKETS: Final = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)
FIRST_TOKEN_BUCKETS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
TOKEN_TIME_BUCKETS: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0),
)
REQUEST_TIME_BUCKETS: Final = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_MAX_PENDING = 4096
"""Different samples held before they are put into the histograms."""


def token_buckets(max_model_len: int) -> tuple[float, ...]:
    """Return 1, 2, 5, 10, ... up to the longest sequence, as vLLM chooses them."""
    bounds: list[float] = []
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale > max_model_len:
                return tuple(bounds)
            bounds.append(float(step * scale))
        scale *= 10


class Histogram:
    """Counts per bucket (not cumulative), the number of values and their sum."""

    __slots__ = ("bounds", "count", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Add a value, or the same value several times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.count += times
        self.sum += value * times

    def cumulative(self) -> list[int]:
        """Return the counts as Prometheus wants them: each bucket holds those below it, the last is +Inf."""
        total, out = 0, []
        for count in self.counts:
            total += count
            out.append(total)
        return out


class Sample(NamedTuple):
    """What a finished sequence adds to the histograms; times in seconds, the rest in tokens."""

    prompt: int
    cached: int
    produced: int
    target: int
    preemptions: int
    queue: float
    prefill: float
    decode: float
    end_to_end: float


class Arrival(NamedTuple):
    """What was asked for with one answer of a request."""

    n: int | None
    """How many answers were asked for; None for the further answers of a request, which counts once."""
    max_tokens: int


class EngineStats:
    """Counters and histograms of one engine, in tokens and seconds.

    Equal samples are counted together and put into the histograms when these are read: with instant answers
    all times are 0, and a dozen histograms a request would cost more than the engine.
    """

    def __init__(self, max_model_len: int) -> None:
        self.prefix_cache_queries = 0
        self.prefix_cache_hits = 0
        self.external_queries = 0
        self.external_hits = 0
        """Prompt tokens that came from other workers."""
        self.prompt_tokens = 0
        self.prompt_tokens_cached = 0
        self.generation_tokens = 0
        self.preemptions = 0
        self.aborts = 0
        """Sequences whose client went away. vLLM does not show them in `request_success_total`."""
        self.finished = {"stop": 0, "length": 0, "abort": 0, "error": 0, "repetition": 0}
        self._samples: dict[Sample, int] = {}
        self._arrivals: dict[Arrival, int] = {}
        self._steps: dict[tuple[int, float], int] = {}
        tokens = token_buckets(max_model_len)
        self.request_prompt_tokens = Histogram(tokens)
        self.request_generation_tokens = Histogram(tokens)
        self.iteration_tokens = Histogram(STEP_BUCKETS)
        self.max_generation_tokens = Histogram(tokens)
        self.params_n = Histogram(COUNT_BUCKETS)
        self.params_max_tokens = Histogram(tokens)
        self.time_to_first_token = Histogram(FIRST_TOKEN_BUCKETS)
        self.inter_token_latency = Histogram(TOKEN_TIME_BUCKETS)
        self.time_per_output_token = Histogram(TOKEN_TIME_BUCKETS)
        self.e2e_latency = Histogram(REQUEST_TIME_BUCKETS)
        self.queue_time = Histogram(REQUEST_TIME_BUCKETS)
        self.inference_time = Histogram(REQUEST_TIME_BUCKETS)
        self.prefill_time = Histogram(REQUEST_TIME_BUCKETS)
        self.decode_time = Histogram(REQUEST_TIME_BUCKETS)
        self.num_preemptions = Histogram(PREEMPTION_BUCKETS)
        self.prefill_computed = Histogram(tokens)

    def arrived(self, arrival: Arrival) -> None:
        """Count a request's parameters."""
        self._arrivals[arrival] = self._arrivals.get(arrival, 0) + 1
        if len(self._arrivals) > _MAX_PENDING:
            self.fold()

    def ended(self, sample: Sample, reason: str) -> None:
        """Count a finished sequence."""
        self.finished[reason] += 1
        self._samples[sample] = self._samples.get(sample, 0) + 1
        if len(self._samples) > _MAX_PENDING:
            self.fold()

    def stepped(self, tokens: int, repeats: int, decodes: int, seconds: float) -> None:
        """Count equal engine steps: the tokens of each, and how many sequences each gave a further token."""
        step, further = (tokens, -1.0), (decodes, seconds)
        self._steps[step] = self._steps.get(step, 0) + repeats
        if decodes:
            self._steps[further] = self._steps.get(further, 0) + repeats
        if len(self._steps) > _MAX_PENDING:
            self.fold()

    def fold(self) -> None:
        """Put everything counted so far into the histograms."""
        for arrival, times in self._arrivals.items():
            if arrival.n is not None:
                self.params_n.observe(arrival.n, times)
            self.params_max_tokens.observe(arrival.max_tokens, times)
        for (count, seconds), times in self._steps.items():
            if seconds < 0:
                self.iteration_tokens.observe(count, times)
            else:
                self.inter_token_latency.observe(seconds, times * count)
        for sample, times in self._samples.items():
            self._fold_sample(sample, times)
        self._arrivals.clear()
        self._steps.clear()
        self._samples.clear()

    def _fold_sample(self, sample: Sample, times: int) -> None:
        self.request_prompt_tokens.observe(sample.prompt, times)
        self.request_generation_tokens.observe(sample.produced, times)
        self.max_generation_tokens.observe(sample.target, times)
        self.time_per_output_token.observe(sample.decode / max(1, sample.produced - 1), times)
        self.e2e_latency.observe(sample.end_to_end, times)
        self.queue_time.observe(sample.queue, times)
        self.inference_time.observe(sample.prefill + sample.decode, times)
        self.prefill_time.observe(sample.prefill, times)
        self.decode_time.observe(sample.decode, times)
        self.num_preemptions.observe(sample.preemptions, times)
        self.prefill_computed.observe(sample.prompt - sample.cached, times)
