"""What somebody should look at and no other part of a frame shows: a line for each, the worst first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.cli.kubernetes_view import kubernetes_text
from controlplane.cli.limits_view import waiting_text
from controlplane.cli.pairs_view import pair_lines
from controlplane.cli.status_view import duration, failing_text, in_use_instead, traces_text
from controlplane.cli.texts import counted
from controlplane.top.snapshot import Status
from controlplane.top.texts import clean


class Note(NamedTuple):
    """A line; `is_bad` where requests fail of it, or soon may."""

    text: str
    is_bad: bool = False


def notes(status: Status) -> list[Note]:
    """Return all of them."""
    return [Note(clean(note.text), note.is_bad) for note in _notes(status)]


def _notes(status: Status) -> Iterator[Note]:
    if failing := failing_text(status.failing):
        yield Note(failing, is_bad=True)
    if waiting := waiting_text(status.admission):
        yield Note(waiting)
    if status.supervisor is None or status.supervisor.state == "gone":
        yield Note("no supervisor: nothing restarts what dies until `routerctl start` takes over", is_bad=True)
    elif status.supervisor.state == "stopping":
        yield Note("the router is stopping")
    for plane in status.planes:
        if plane.waits_for:
            yield Note(f"plane {plane.place} takes no clients: {plane.waits_for}", is_bad=True)
    for line in pair_lines(status.pairs):
        if line:
            yield Note(line.replace("http://", ""), is_bad=True)
    for worker in status.workers:
        if worker.state == "ready" and worker.reason:
            yield Note(f"{worker.id.removeprefix('http://')} is ready, but {worker.reason}")
    config = status.config
    if config.problems:
        more = f" (and {len(config.problems) - 1} more)" if len(config.problems) > 1 else ""
        yield Note(f"configuration {config.state}: {config.problems[0]}{more}")
    elif config.state == "changed":
        yield Note(f"{config.file} was changed; `routerctl reload` takes it up")
    if (keys := status.client_keys) is not None and keys.problem:
        yield Note(f"clients' keys: {in_use_instead(keys)}: {keys.problem}", is_bad=not keys.keys)
    pods = status.kubernetes
    if text := kubernetes_text(pods, duration(pods.age if pods is not None else None)):
        yield Note(text)
    if lost := traces_text(status.traces_lost):
        yield Note(lost)
    for policy in status.policies:
        if policy.unserved:
            yield Note(f"policy {policy.policy}: {policy.unserved}")
        for lack in policy.lacks:
            yield Note(
                f"policy {policy.policy}: {lack.sentence} ({counted(lack.count, 'time', 'times')} in the last minute)"
            )
