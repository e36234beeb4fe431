"""From samples to figures: medians over the rounds, and ratios inside each round."""

from collections.abc import Mapping, Sequence

import msgspec

from benchlib.control_plane import ControlRow
from benchlib.memory import MemoryRow
from benchlib.session import Fleet, Sample
from benchlib.stats import median


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one variant: a value per round, and its ratios to other variants.

    Ratios are those of the rounds, and what counts is their median, not the ratio of the medians: what
    disturbed a round disturbed both sides of it. The unit is in the metric's name.
    """

    fleet: str
    load: str
    variant: str
    metric: str
    values: list[float]
    ratios: dict[str, list[float]]

    @property
    def median(self) -> float:
        return median(self.values)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run has found; the content of `--json`."""

    settings: dict[str, object]
    machine: dict[str, object]
    figures: list[Figure] = []
    memory: list[MemoryRow] = []
    control_plane: list[ControlRow] = []
    samples: list[Sample] = []


def metrics(sample: Sample, request_us: float | None) -> dict[str, float]:
    """Return the metrics of one sample.

    `request_us` is what a small request cost the same variant in the same round: taken off a
    stream's cost, it leaves what its chunks cost.
    """
    result, cpu_us = sample.result, sample.cpu_total * 1e6
    requests = max(1, result.requests)
    found = {
        "cpu_us_per_request": cpu_us / requests,
        "requests_per_s": result.requests / result.seconds,
        "p50_ms": result.p50_ms,
        "p99_ms": result.p99_ms,
        "ttfb_p50_ms": result.ttfb_p50_ms,
        "ttfb_p99_ms": result.ttfb_p99_ms,
        "errors": float(sum(result.errors.values())),
        "router_cores": sample.cpu_total / result.seconds,
        "client_cores": result.client_cpu_seconds / result.seconds,
    }
    if result.chunks:
        found |= {
            "cpu_us_per_chunk": cpu_us / result.chunks,
            "chunks_per_s": result.chunks / result.seconds,
            "chunks_per_read": result.chunks / max(1, result.reads),
        }
        if request_us is not None:
            found["cpu_us_per_chunk_net"] = (cpu_us - request_us * requests) / result.chunks
    return found


def figures(fleet: Fleet, samples: Sequence[Sample]) -> list[Figure]:
    """Return the figures of one fleet's samples."""
    request_us = {
        (sample.variant, sample.round): sample.cpu_total * 1e6 / max(1, sample.result.requests)
        for sample in samples
        if sample.load == "small"
    }
    against = {variant.label: variant.against for variant in fleet.variants}
    found = []
    for load in fleet.loads:
        values: dict[str, dict[str, list[float]]] = {label: {} for label in against}
        for sample in samples:
            if sample.load == load:
                for name, value in metrics(sample, request_us.get((sample.variant, sample.round))).items():
                    values[sample.variant].setdefault(name, []).append(value)
        found += compare(fleet.name, load, values, against)
    return found


def compare(
    fleet: str,
    load: str,
    values: Mapping[str, Mapping[str, list[float]]],
    against: Mapping[str, Sequence[str]],
) -> list[Figure]:
    """Return figures with ratios, from variant -> metric -> a value per round."""
    return [
        Figure(
            fleet=fleet,
            load=load,
            variant=variant,
            metric=metric,
            values=own,
            ratios={other: _ratios(own, values[other][metric]) for other in against.get(variant, ())},
        )
        for variant, by_metric in values.items()
        for metric, own in by_metric.items()
    ]


def _ratios(own: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(own, other, strict=True) if b]
