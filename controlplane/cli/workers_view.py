"""What `routerctl workers` shows, for people: 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from controlplane.cli.status_view import duration

_WIDTH = 80


class Load(msgspec.Struct, kw_only=True):
    """An engine's own figures."""

    running: float
    waiting: float
    kv_usage: float
    age: float


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


class Workers(msgspec.Struct, kw_only=True):
    """The answer of `GET /workers`."""

    workers: tuple[Worker, ...]


class Changed(msgspec.Struct, kw_only=True):
    """The answer to a change."""

    id: str
    state: str
    on_every_plane: bool
    kept: bool


def list_text(workers: Sequence[Worker]) -> str:
    """Return a line per worker."""
    if not workers:
        return "no workers; add one with `routerctl workers add URL`"
    rows = [("WORKER", "STATE", "AGE", "OPEN", "SOURCE", "MODELS")]
    for worker in workers:
        last = worker.reason or ("-" if worker.models is None else ", ".join(worker.models))
        rows.append((worker.url, _state(worker), duration(worker.age), str(worker.inflight), worker.source, last))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line[:_WIDTH].rstrip() for line in lines)


def show_text(worker: Worker) -> str:
    """Return all that is known of one worker, a line each; what is too long goes on below."""
    load = worker.load
    lines = [
        ("worker", worker.url),
        ("state", f"{_state(worker)} for {duration(worker.age)}"),
        ("reason", worker.reason or "-"),
        ("open requests", str(worker.inflight)),
        ("models", "not told" if worker.models is None else ", ".join(worker.models) or "none"),
        ("version", worker.version or "not told"),
        ("life", str(worker.epoch)),
        ("role", worker.role),
        ("source", worker.source),
        (
            "load",
            "not known"
            if load is None
            else f"{load.running:g} running, {load.waiting:g} waiting, KV cache {load.kv_usage:.0%} "
            f"({duration(load.age)} ago)",
        ),
    ]
    column = max(len(name) for name, _ in lines) + 2
    room = _WIDTH - column
    return "\n".join(
        f"{name if start == 0 else '':<{column}}{text[start : start + room]}"
        for name, text in lines
        for start in range(0, len(text), room)
    )


def changed_text(changed: Changed) -> str:
    """Return what a change came to."""
    said = {
        "draining": "gets no more requests; those that are open go on",
        "starting": "is looked at; it gets requests once it is ready",
        "ready": "gets requests",
        "gone": "is gone",
    }
    lines = [f"worker {changed.id} {said.get(changed.state, f'is {changed.state}')}"]
    if not changed.on_every_plane:
        lines.append("not every plane has said yet that it knows; `routerctl status` shows which")
    if not changed.kept:
        lines.append("it could not be written to disk: a restart of the control plane forgets it")
    return "\n".join(lines)


def _state(worker: Worker) -> str:
    return "drained" if worker.drained else worker.state
