"""A report as tables for people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from controlplane.cli.status_view import aligned, duration
from controlplane.cli.texts import counted, shortened
from controlplane.figures.quantiles import Quantiles
from controlplane.figures.traffic import OWN_ANSWER
from controlplane.reports.shapes import ErrorCount, ModelCost, Report, WorkerShare
from shared import catalog

MOST_ROWS = 30
"""Of a table; --json has all."""
_ANY_OTHER = "(any other)"
_WAYS = {
    "two-workers": "by a pair",
    "one-worker": "by one worker for want of a pair",
    "bypassed": "short, by one worker",
    "recomputed": "prefilled again as nothing was handed over",
}


def text_of(report: Report, width: int | None = None) -> str:
    """Return the report as lines, each cut at `width` columns."""
    return "\n".join(line[:width].rstrip() for line in _lines(report, is_cut=width is not None))


def _lines(report: Report, *, is_cut: bool) -> Iterator[str]:
    yield period(report)
    if not report.points:
        yield "nothing is known of this time: no control plane wrote a row in it"
        return
    yield ""
    yield from aligned(traffic_rows(report))
    yield from _table("LATENCY", latency_rows(report), is_cut=is_cut)
    yield from _table("ERRORS", error_rows(report.errors) if report.errors else (), is_cut=is_cut)
    yield from _table("MODELS", model_rows(report.models), is_cut=is_cut)
    if note := models_note(report.models):
        yield note
    yield from _table("WORKERS", worker_rows(report.workers), is_cut=is_cut)
    for one in report.balance:
        # More than 1: the busiest worker had more than its share.
        requests = "1 request" if one.requests == 1 else f"{one.requests:,} requests"
        name = f"{one.role or 'gone'}: {requests} at {counted(one.workers, 'worker', 'workers')}"
        yield f"{name}; the busiest had {one.most_over_mean:.2f} times the mean"
    yield from _table("LIMITS", limit_rows(report), is_cut=is_cut)
    yield from _table("CACHES", cache_rows(report), is_cut=is_cut)
    yield from _table("POLICIES", policy_rows(report), is_cut=is_cut)
    if report.events:
        yield ""
        yield f"EVENTS of workers, breakers and processes, the newest of {len(report.events)}"
        for event in report.events[-10:]:
            yield f"{stamp(event.time)}  {event.level:<7}  {event.text}"


def period(report: Report) -> str:
    """Return which time the report is of, and how much of it is known."""
    whole = report.until - report.since
    known = f"; {duration(report.known_seconds)} of it are known" if report.known_seconds < 0.95 * whole - 15 else ""
    return f"{stamp(report.since)} to {stamp(report.until)} ({duration(whole)}){known}"


def stamp(when: float) -> str:
    """Return a time as people read it, in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _table(title: str, rows: Sequence[Sequence[str]], *, is_cut: bool) -> Iterator[str]:
    if len(rows) < 2:
        return
    yield ""
    told = rows[1 : MOST_ROWS + 1]
    if is_cut:
        told = [(shortened(name), *cells) for name, *cells in told]
    first, *others = aligned([(title, *rows[0][1:]), *told])
    yield first
    yield from others
    if len(rows) - 1 > MOST_ROWS:
        yield f"and {len(rows) - 1 - MOST_ROWS} more; --json has all"


def traffic_rows(report: Report) -> list[tuple[str, str]]:
    """Return the sums."""
    traffic = report.traffic
    # Between two looks all of them may have come and gone.
    seen = f", up to {traffic.most_active:,} seen open" if traffic.most_active else ""
    rows = [
        ("requests", f"{traffic.requests:,} ({traffic.rate:.2f}/s{seen})"),
        ("answered", f"{traffic.answered:,}{_part(traffic.answered, traffic.requests)}"),
        ("refused (4xx)", f"{traffic.refused:,}{_part(traffic.refused, traffic.requests)}"),
        ("failed", f"{traffic.failed:,}{_part(traffic.failed, traffic.requests)}"),
        ("client left", f"{traffic.left:,}{_part(traffic.left, traffic.requests)}"),
        ("tokens", f"{traffic.prompt_tokens:,} in, {traffic.output_tokens:,} out"),
    ]
    if traffic.most_queued or report.latency.queue_wait is not None:
        count = report.latency.queue_wait.count if report.latency.queue_wait is not None else 0
        seen = f" (up to {traffic.most_queued:,} seen at a time)" if traffic.most_queued else ""
        rows.append(("waited", f"{count:,}{seen}"))
    if traffic.retries:
        rows.append(("retries", _counts(traffic.retries)))
    if traffic.retries_denied:
        rows.append(("retries denied", _counts(traffic.retries_denied)))
    if traffic.disaggregated:
        said = (f"{count:,} {_WAYS.get(way, way)}" for way, count in traffic.disaggregated.items())
        rows.append(("prefill, decode", ", ".join(said)))
    return rows


def latency_rows(report: Report) -> list[tuple[str, ...]]:
    """Return a line for each kind of time, below their titles."""
    latency = report.latency
    told = (
        ("whole request", latency.duration),
        ("first token", latency.first_token),
        ("between tokens", latency.token_gap),
        ("wait in the queue", latency.queue_wait),
    )
    rows = [(name, f"{times.count:,}", *_times(times)) for name, times in told if times is not None]
    return [("", "COUNT", "MEAN", "P50", "P95", "P99"), *rows]


def error_rows(errors: Sequence[ErrorCount]) -> list[tuple[str, ...]]:
    """Return a line for each cause and status."""
    return [
        ("", "STATUS", "COUNT"),
        *((one.cause or OWN_ANSWER, one.status, f"{one.count:,}") for one in errors),
    ]


def model_rows(models: Sequence[ModelCost]) -> list[tuple[str, ...]]:
    """Return a line for each model."""
    head = ("", "REQUESTS", "FAILED", "TOKENS IN", "CACHED", "TOKENS OUT", "WORKER TIME", "TTFT P50", "P95")
    rows = (
        (
            _ANY_OTHER if one.model == catalog.OTHER else one.model or "(none named)",
            f"{one.requests:,}",
            f"{one.failed:,}",
            f"{one.prompt_tokens:,}",
            _cached_part(one),
            f"{one.output_tokens:,}",
            duration(one.worker_seconds),
            *(seconds(value) for value in _half_and_most(one.latency.first_token)),
        )
        for one in models
    )
    return [head, *rows]


def models_note(models: Sequence[ModelCost]) -> str:
    """Return what the line of all other models is; empty where there is none."""
    if all(one.model != catalog.OTHER for one in models):
        return ""
    return f"{_ANY_OTHER}: names that no worker serves, and models beyond the first {catalog.MAX_MODELS}"


def _cached_part(one: ModelCost) -> str:
    if one.cached_tokens is None or not one.prompt_tokens:
        return "-"
    return f"{one.cached_tokens / one.prompt_tokens:.0%}"


def _half_and_most(times: Quantiles | None) -> tuple[float | None, float | None]:
    return (times.p50, times.p95) if times is not None else (None, None)


def worker_rows(workers: Sequence[WorkerShare]) -> list[tuple[str, ...]]:
    """Return a line for each worker; a role and what a breaker did only where there is something to tell."""
    has_roles = len({one.role for one in workers}) > 1
    head = ("", *(("ROLE",) if has_roles else ()), "REQUESTS", "SHARE", "FAILURES", "MEAN", "FIRST BYTE", "BUSY")
    rows = (
        (
            one.worker,
            *((one.role or "gone",) if has_roles else ()),
            f"{one.requests:,}",
            f"{one.share:.1%}",
            f"{one.failures:,}",
            seconds(one.mean_seconds),
            seconds(one.mean_first_byte),
            duration(one.busy_seconds),
            str(one.breaker_opened),
            str(one.ejected),
        )
        for one in workers
    )
    return [(*head, "BREAKER OPENED", "EJECTED"), *rows]


def limit_rows(report: Report) -> list[tuple[str, ...]]:
    """Return how full each limit was, below their titles."""
    rows = ((one.limit, f"{one.amount:,.10g}", f"{one.mean_part:.0%}", f"{one.most_part:.0%}") for one in report.limits)
    return [("", "OF", "FULL, MEAN", "AT MOST"), *rows]


def cache_rows(report: Report) -> list[tuple[str, ...]]:
    """Return what was found in caches: by the engines' word, and by each policy's estimate.

    Four bytes count as a token for `cache_aware`, and for `kv_aware` where it falls back to that: no count of tokens.
    """
    rows: list[tuple[str, ...]] = [("", "PROMPT TOKENS", "CACHED", "PART")]
    if (told := report.cached) is not None:
        part = f"{report.cached_part:.1%}" if report.cached_part is not None else "-"
        rows.append(("engines, by usage", f"{told.prompt_tokens:,}", f"{told.cached_tokens:,}", part))
    for policy in report.policies:
        if policy.prompt_tokens:
            part = f"{policy.cached_tokens / policy.prompt_tokens:.1%}"
            amounts = (f"~{policy.prompt_tokens:,}", f"~{policy.cached_tokens:,}", f"~{part}")
            rows.append((f"by {policy.policy}, estimated", *amounts))
    return rows


def policy_rows(report: Report) -> list[tuple[str, ...]]:
    """Return what the policies' choices rested on."""
    rows = [
        (policy.policy, outcome, f"{count:,}", _part(count, sum(policy.choices.values())).strip(" ()"))
        for policy in report.policies
        for outcome, count in sorted(policy.choices.items(), key=lambda one: -one[1])
    ]
    return [("", "RESTED ON", "CHOICES", "PART"), *rows]


def seconds(value: float | None) -> str:
    """Return a time with three digits that count; `-` for None."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f}ms" if value < 1 else f"{value:.2f}s"


def _times(times: Quantiles) -> tuple[str, ...]:
    return tuple(seconds(value) for value in (times.mean, times.p50, times.p95, times.p99))


def _part(count: int, whole: int) -> str:
    return f" ({count / whole:.1%})" if whole else ""


def _counts(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return f"{total:,} ({', '.join(f'{name} {count:,}' for name, count in counts.items())})"
