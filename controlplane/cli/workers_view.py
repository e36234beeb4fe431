"""What `routerctl workers` shows, for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec

from controlplane.cli.status_view import BreakerView, aligned, duration, worker_state
from shared.table import DEFAULT_PRIORITY, DEFAULT_WEIGHT
from shared.transfer import Transfer


class Load(msgspec.Struct, kw_only=True):
    """An engine's own figures."""

    running: float
    waiting: float
    kv_usage: float
    age: float


class WorkerLimit(msgspec.Struct, kw_only=True):
    """The limit that a worker goes by; `source` is worker, all or found."""

    amount: int
    source: str
    most: int


class Worker(msgspec.Struct, kw_only=True):
    """One worker, by the names of `GET /workers`."""

    id: str
    url: str
    source: str
    role: str
    state: str
    reason: str
    drained: bool
    epoch: int
    version: str | None
    age: float
    models: tuple[str, ...] | None
    inflight: int
    load: Load | None
    breaker: BreakerView = BreakerView()
    labels: dict[str, str] = {}
    weight: float = DEFAULT_WEIGHT
    capacity: float | None = None
    max_concurrent_requests: int | None = None
    limit: WorkerLimit | None = None
    priority: int = DEFAULT_PRIORITY
    transfer: Transfer | None = None
    changed: tuple[str, ...] = ()


class Workers(msgspec.Struct, kw_only=True):
    """The answer of `GET /workers`."""

    workers: tuple[Worker, ...]
    removed: tuple[str, ...] = ()


class Changed(msgspec.Struct, kw_only=True):
    """The answer to a change."""

    id: str
    state: str
    on_every_plane: bool
    kept: bool
    labels: dict[str, str] = {}
    weight: float = DEFAULT_WEIGHT
    capacity: float | None = None
    max_concurrent_requests: int | None = None
    priority: int = DEFAULT_PRIORITY


_COLUMNS: tuple[tuple[str, Callable[[Worker], str], str], ...] = (
    ("ROLE", lambda worker: worker.role, "regular"),
    ("WEIGHT", lambda worker: _number(worker.weight), f"{DEFAULT_WEIGHT:g}"),
    ("PRIO", lambda worker: str(worker.priority), str(DEFAULT_PRIORITY)),
    ("CAP", lambda worker: _number(worker.capacity), "-"),
    ("LIMIT", lambda worker: _short_limit(worker.limit), "-"),
    ("LABELS", lambda worker: _labels(worker.labels), "-"),
)
"""Columns that are shown when a worker has something else in them than what every worker has by itself."""


def list_text(
    workers: Sequence[Worker], width: int | None = None, *, removed: Sequence[str] = (), is_filtered: bool = False
) -> str:
    """Return a line per worker, cut at `width` columns; then which configured workers an operator has `removed`."""
    footer = [f"configured, but removed (`routerctl workers add URL` brings one back): {', '.join(removed)}"]
    lines = [*_lines(workers, width, is_filtered=is_filtered), *(footer if removed and not is_filtered else ())]
    return "\n".join(lines)


def _lines(workers: Sequence[Worker], width: int | None, *, is_filtered: bool) -> list[str]:
    if not workers:
        return ["no worker has these labels" if is_filtered else "no workers; add one with `routerctl workers add URL`"]
    columns = [(name, text) for name, text, usual in _COLUMNS if any(text(worker) != usual for worker in workers)]
    rows = [("WORKER", "STATE", "AGE", "OPEN", "SOURCE", *(name for name, _ in columns), "MODELS")]
    for worker in workers:
        last = worker.reason or ("-" if worker.models is None else ", ".join(worker.models))
        state, age, reason = _state(worker)
        head = (worker.id, state, duration(age), str(worker.inflight), worker.source)
        rows.append((*head, *(text(worker) for _, text in columns), reason or last))
    return [line[:width].rstrip() for line in aligned(rows)]


def show_text(worker: Worker, width: int | None = None) -> str:
    """Return all that is known of one worker, a line each; what is longer than `width` columns goes on below."""
    state, age, _ = _state(worker)
    load = worker.load
    lines = [
        ("worker", worker.id),
        ("state", f"{state} for {duration(age)}"),
        ("reason", worker.reason or "-"),
        ("breaker", _breaker(worker.breaker)),
        ("open requests", str(worker.inflight)),
        ("models", "not told" if worker.models is None else ", ".join(worker.models) or "none"),
        ("version", worker.version or "not told"),
        ("life", str(worker.epoch)),
        ("role", worker.role),
        ("source", worker.source),
        *((name, _marked(name, text, worker.changed)) for name, text in _attributes(worker, _limit(worker))),
        *_transfer(worker.transfer),
        (
            "load",
            "not known"
            if load is None
            else f"{load.running:g} running, {load.waiting:g} waiting, KV cache {load.kv_usage:.0%} "
            f"({duration(load.age)} ago)",
        ),
    ]
    column = max(len(name) for name, _ in lines) + 2
    room = max(1, (width or sys.maxsize) - column)
    return "\n".join(
        f"{name if start == 0 else '':<{column}}{text[start : start + room]}"
        for name, text in lines
        for start in range(0, len(text), room)
    )


def attributes_text(changed: Changed) -> str:
    """Return what a change of attributes came to."""
    most = changed.max_concurrent_requests
    limit = "as for all" if most is None else str(most or "none")
    told = ", ".join(f"{name} {text}" for name, text in _attributes(changed, limit))
    return "\n".join((f"worker {changed.id} has {told}", *_shortcomings(changed)))


def changed_text(changed: Changed) -> str:
    """Return what a change came to."""
    said = {
        "draining": "gets no more requests; those that are open go on",
        "starting": "is looked at; it gets requests once it is ready",
        "ready": "gets requests",
        "gone": "is gone",
    }
    first = f"worker {changed.id} {said.get(changed.state, f'is {changed.state}')}"
    return "\n".join((first, *_shortcomings(changed)))


def _shortcomings(changed: Changed) -> list[str]:
    lines = []
    if not changed.on_every_plane:
        lines.append("not every plane has said yet that it knows; `routerctl status` shows which")
    if not changed.kept:
        lines.append("it could not be written to disk: a restart of the control plane forgets it")
    return lines


def _short_limit(limit: WorkerLimit | None) -> str:
    """Return a worker's limit in a few letters: what is not its own says so."""
    return "-" if limit is None else f"{limit.amount}{_NOT_ITS_OWN.get(limit.source, '')}"


_NOT_ITS_OWN = {"all": " (all)", "found": " (found)"}


def _limit(worker: Worker) -> str:
    """Return a worker's limit, and whence it comes."""
    limit, own = worker.limit, worker.max_concurrent_requests
    if limit is None:
        return "none"
    if limit.source == "found":
        whose = "its own limit" if own is not None else "the most for all workers"
        return f"{limit.amount} at the moment, as found (--adaptive-worker-limit); {whose} is {limit.most}"
    return f"{limit.amount}, as for all workers (--worker-max-concurrent-requests)" if own is None else str(own)


def _attributes(of: Worker | Changed, limit: str) -> tuple[tuple[str, str], ...]:
    return (
        ("weight", _number(of.weight)),
        ("priority", str(of.priority)),
        ("capacity", _number(of.capacity)),
        ("limit", limit),
        ("labels", _labels(of.labels)),
    )


def _marked(name: str, text: str, changed: Sequence[str]) -> str:
    attribute = "max_concurrent_requests" if name == "limit" else name
    return f"{text} (by an operator)" if attribute in changed else text


def _number(value: float | None) -> str:
    # Six digits would turn a million into 1e+06.
    return "-" if value is None else f"{value:.12g}"


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items()) or "-"


def _transfer(transfer: Transfer | None) -> tuple[tuple[str, str], ...]:
    """Return a line for what is known; most workers have none."""
    if transfer is None:
        return ()
    engines = [f"engine {rank} is {name}" for rank, name in transfer.engine_ids.items()]
    known = (
        transfer.connector,
        transfer.address,
        transfer.mode or "",
        f"bootstrap port {transfer.bootstrap_port}" if transfer.bootstrap_port is not None else "",
        *engines,
    )
    return (("KV transfer", ", ".join(filter(None, known)) or "-"),)


def _breaker(breaker: BreakerView) -> str:
    if breaker.state == "closed":
        return "closed"
    return f"{breaker.state} for {duration(breaker.age)}: {breaker.reason}"


def _state(worker: Worker) -> tuple[str, float | None, str]:
    return worker_state(worker.state, worker.age, worker.breaker, is_drained=worker.drained)
