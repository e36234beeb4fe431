"""The line's text. Pure."""

from __future__ import annotations

from controlplane.condition import READY
from controlplane.top.snapshot import Summary, Traffic
from controlplane.top.texts import amount, short_time


def text_of(summary: Summary | None) -> str:
    """Return how the router does, the most important first: a narrow terminal cuts the rest off."""
    if summary is None:
        return " no control plane answers; planes go on by what they know"
    count, ready = sum(summary.workers.values()), summary.workers.get(READY, 0)
    parts = [f"{ready}/{count} workers ready"]
    if summary.broken:
        parts.append(f"{summary.broken} breaker{'s' if summary.broken > 1 else ''} not closed")
    parts += [f"{summary.planes}/{summary.data_planes} planes", f"{summary.active} open"]
    if (traffic := summary.traffic) is not None:
        parts += [f"{amount(traffic.requests)} req/s", f"{amount(traffic.failures)} failed/s{_cause(traffic)}"]
        parts.append(f"tok/s {amount(traffic.prompt_tokens)} in {amount(traffic.output_tokens)} out")
        for name, times in (("ttft", traffic.first_token), ("e2e", traffic.duration)):
            if times is not None:
                parts.append(f"{name} {short_time(times.p50)}/{short_time(times.p95)}")
    return " " + "  ".join(parts)


def _cause(traffic: Traffic) -> str:
    """Return what most of the failures are of."""
    return f" ({next(iter(traffic.causes))})" if traffic.causes else ""
