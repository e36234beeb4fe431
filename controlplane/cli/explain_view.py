"""A receipt as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from controlplane.cli.texts import counted
from shared.limits import WORKER
from shared.model_rules import labels_text
from shared.receipt import ArmReceipt, AttemptReceipt, ChoiceReceipt, LeftOut, Receipt

_HEAD: tuple[str, ...] = ("candidate", "score", "in flight", "running", "waiting", "kv", "age", "why")


def lines(receipt: Receipt) -> Iterator[str]:
    """Yield the lines, the request first, then each attempt in its order, then the end."""
    when = datetime.fromtimestamp(receipt.arrived).astimezone()
    model = f", model {plain(receipt.model)}" if receipt.model is not None else ""
    key = f", key {plain(receipt.key)}" if receipt.key is not None else ""
    yield f"request {plain(receipt.request)}: {plain(receipt.method)} {plain(receipt.path)}{model}{key}"
    yield (
        f"  {when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03d}, plane {receipt.plane}, "
        f"table {receipt.epoch}.{receipt.version}, policy {receipt.policy}"
    )
    if receipt.trace:
        yield f"  trace {receipt.trace}"
    if receipt.arm is not None:
        yield f"  {_arm(receipt.arm)}"
    if (queue := receipt.queue) is not None:
        foreseen = f", {_ms(queue.expected)} were expected" if queue.expected is not None else ""
        yield f"  waited {_ms(queue.took)} for its turn, behind {_others(queue.position)}{foreseen}{_full(queue.limit)}"
    if receipt.limit:
        yield f"  no room{_full(receipt.limit)}"
    number = 0
    for attempt in receipt.attempts:
        number += not attempt.is_again
        yield from _attempt(number, attempt)
    if receipt.left_out:
        yield "  no worker was tried"
        yield from _left_out(receipt.left_out)
    first = f"first byte after {_ms(receipt.first_byte)}, " if receipt.first_byte is not None else ""
    status = f" with {receipt.status}" if receipt.status else ""
    yield f"  {receipt.outcome}{status}: {first}the end after {_ms(receipt.ended)}"


_CHOSEN_BY = {
    "only": "the only arm that is ready",
    "session": "by its session",
    "draw": "drawn by weight",
    "response": "which made the response that it goes on from",
}


def _arm(arm: ArmReceipt) -> str:
    labels = "".join(f", {text}" for text in labels_text(arm.labels))
    rewritten = "; the worker gets that name" if arm.rewritten else ""
    # Where a name has one arm there was nothing to choose.
    chosen = f" ({_CHOSEN_BY.get(arm.by, arm.by)})" * (arm.by != "single")
    return f"stands for {plain(arm.to)}{labels}{chosen}{rewritten}"


def _attempt(number: int, attempt: AttemptReceipt) -> Iterator[str]:
    # That for whole requests stands in the head.
    by = f" by {attempt.policy}" * bool(attempt.policy)
    leg = "" if attempt.leg == "plain" else f" to {attempt.leg}{by}"
    name = "again, over a new connection" if attempt.is_again else f"attempt {number}{leg}"
    yield f"  {name}, after {_ms(attempt.began)}: {attempt.worker}"
    if not (attempt.is_detailed or attempt.is_again):
        yield "    why is not written down: it is for so many choices a second only"
    if attempt.note:
        yield f"    {attempt.note}"
    if attempt.choices:
        yield from _table(attempt.choices)
    yield from _left_out(attempt.left_out)
    if attempt.failed:
        yield f"    failed: {attempt.failed}"


def _table(choices: Sequence[ChoiceReceipt]) -> Iterator[str]:
    rows = [_HEAD, *map(_row, choices)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)
        ]
        yield f"    {'  '.join(cells)}  {row[-1]}"


def _row(choice: ChoiceReceipt) -> tuple[str, ...]:
    load = choice.load
    score = "" if choice.score is None else f"{choice.score:.4g}"
    if load is None:
        return (choice.worker, score, "", "", "", "", "", choice.reason)
    known = load.running is not None and load.waiting is not None
    return (
        choice.worker,
        score,
        str(load.in_flight),
        f"{load.running:g}" if known else "?",
        f"{load.waiting:g}" if known else "?",
        f"{load.kv_usage:.0%}" if load.kv_usage is not None else "?",
        f"{load.age:.1f} s" if load.age is not None else "?",
        choice.reason,
    )


def _left_out(workers: Sequence[LeftOut]) -> Iterator[str]:
    for worker in workers:
        yield f"    left out: {worker.worker}: {worker.reason}"


def _full(limit: str) -> str:
    if limit == WORKER:
        return ": all of its workers had as many requests as they may"
    return f": the limit {plain(limit)} was full" if limit else ""


def _others(position: int) -> str:
    return counted(position, "other", "others") if position else "nobody"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def plain(text: str) -> str:
    """Return what a client chose as it may be printed: a terminal must not take it for its own commands."""
    return text.encode("ascii", "backslashreplace").decode() if text.isprintable() else repr(text)
