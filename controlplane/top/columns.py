"""The columns of the table of workers: which of them fit, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from controlplane.cli.texts import shortened
from controlplane.top.snapshot import Worker
from controlplane.top.texts import amount, bar, clean, fitted, short_time, whole
from controlplane.top.view import busyness, state_of

NAME_LEAST = 21
"""Columns of the terminal for a worker's address that others leave to it: 192.168.100.100:30000."""
NAME_MOST = 60


class Row(NamedTuple):
    """A worker and what its load is drawn against: its capacity, or the busiest worker of its role."""

    worker: Worker
    full: float
    is_ascii: bool


class Column(NamedTuple):
    """A column, `rank` says how early it is left out (the highest first) where there is not room for all."""

    title: str
    width: int
    rank: int
    cell: Callable[[Row], str]
    is_right: bool = True


def _load_of(row: Row) -> str:
    return bar(busyness(row.worker) / row.full if row.full else 0.0, 8, is_ascii=row.is_ascii)


def _running(row: Row) -> str:
    return whole(row.worker.load.running if row.worker.load is not None else None)


def _waiting(row: Row) -> str:
    return whole(row.worker.load.waiting if row.worker.load is not None else None)


def _kv(row: Row) -> str:
    return f"{row.worker.load.kv_usage:.0%}" if row.worker.load is not None else "-"


def _rate(row: Row) -> str:
    return amount(row.worker.traffic.requests if row.worker.traffic is not None else 0.0)


def _failures(row: Row) -> str:
    return amount(row.worker.traffic.failures if row.worker.traffic is not None else 0.0)


def _p50(row: Row) -> str:
    times = row.worker.traffic.first_byte if row.worker.traffic is not None else None
    return short_time(times.p50 if times is not None else None)


def _p95(row: Row) -> str:
    times = row.worker.traffic.first_byte if row.worker.traffic is not None else None
    return short_time(times.p95 if times is not None else None)


def _models(row: Row) -> str:
    return clean(", ".join(row.worker.models or ()))


COLUMNS = (
    Column("STATE", 9, 0, lambda row: state_of(row.worker), is_right=False),
    Column("LOAD", 8, 1, _load_of, is_right=False),
    Column("RUN", 4, 3, _running),
    Column("WAIT", 4, 4, _waiting),
    Column("KV", 4, 5, _kv),
    Column("OPEN", 4, 7, lambda row: whole(row.worker.inflight)),
    Column("REQ/S", 5, 2, _rate),
    Column("FIRST", 5, 6, _p50),
    Column("P95", 5, 8, _p95),
    Column("FAIL/S", 6, 9, _failures),
    Column("MODELS", 24, 10, _models, is_right=False),
)


def fitting(width: int, longest_name: int) -> tuple[int, tuple[Column, ...]]:
    """Return how wide the address is, and the other columns that fit beside it into `width`."""
    least = min(longest_name, NAME_LEAST)
    room = width - 1 - least
    taken: set[str] = set()
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        if column.width + 1 > room:
            break
        room -= column.width + 1
        taken.add(column.title)
    name = min(least + room, max(longest_name, least), NAME_MOST)
    return max(0, name), tuple(column for column in COLUMNS if column.title in taken)


def heading(name: int, columns: tuple[Column, ...]) -> str:
    """Return the titles' line."""
    cells = (fitted(column.title, column.width, right=column.is_right) for column in columns)
    return " ".join((" " + fitted("WORKER", name), *cells))


def line(row: Row, name: int, columns: tuple[Column, ...], is_chosen: bool) -> str:
    """Return a worker's line; the chosen one has a mark, too, for terminals without any other."""
    cells = (fitted(column.cell(row), column.width, right=column.is_right) for column in columns)
    return " ".join(((">" if is_chosen else " ") + fitted(shortened(short_name(row.worker), name), name), *cells))


def short_name(worker: Worker) -> str:
    """Return a worker's address without what nearly all of them begin with."""
    return clean(worker.id.removeprefix("http://"))
