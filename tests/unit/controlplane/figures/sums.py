"""Sums of planes, as tests of figures need them."""

from __future__ import annotations

from controlplane.totals import HistogramTotal, Totals
from shared import catalog


def histogram(metric: catalog.Metric, count: int, seconds: float) -> HistogramTotal:
    """So many observations of one value."""
    counts = [0] * (len(metric.buckets) + 1)
    counts[next((i for i, bound in enumerate(metric.buckets) if seconds <= bound), len(metric.buckets))] = count
    return HistogramTotal(counts, count * seconds)


def sums(requests: int, *, failed: int = 0, workers: dict[str, int] | None = None, seconds: float = 0.2) -> Totals:
    """Sums after so many answered requests of model m, and others that failed, each of them as long."""
    workers = workers if workers is not None else {"a": requests + failed}
    route = "/v1/completions"
    return Totals(
        counters={
            "requests": {
                (route, "POST", "m", "200", ""): float(requests),
                (route, "POST", "m", "502", "workers_unreachable"): float(failed),
                (route, "POST", "m", "404", "model_not_found"): 7.0 * requests,
                (route, "POST", "m", "200", "client_left"): float(requests),
            },
            "prompt_tokens": {("m",): 100.0 * requests},
            "cached_prompt_tokens": {("m",): 25.0 * requests},
            "output_tokens": {("m",): 10.0 * requests},
            "worker_seconds": {("m",): seconds * requests},
            "worker_requests": {(worker,): float(count) for worker, count in workers.items()},
            "worker_failures": {("a", "no-connection"): float(failed), ("a", "stalled"): float(failed)},
        },
        histograms={
            "request_duration_seconds": {(route, "m"): histogram(catalog.LATENCY, requests, seconds)},
            "time_to_first_token_seconds": {("m",): histogram(catalog.FIRST_TOKEN, requests, seconds)},
            "worker_time_to_first_byte_seconds": {
                (worker,): histogram(catalog.WORKER_FIRST_BYTE, count, seconds) for worker, count in workers.items()
            },
        },
    )
