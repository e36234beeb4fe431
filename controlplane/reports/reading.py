"""Reads the history's rows out of the runtime folder, with or without the router."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from controlplane.reports.rows import Row
from shared.decoding import DECODE_ERRORS
from shared.runtime_dir import RuntimeDir

_TAIL = 256 * 1024
_decode = msgspec.json.Decoder(Row).decode


class _Head(msgspec.Struct):
    time: float


_head = msgspec.json.Decoder(_Head).decode


def read_rows(runtime: RuntimeDir, after: float) -> Iterator[Row]:
    """Yield the rows that end later than `after` (Unix seconds), the oldest first, one in memory at a time."""
    newest = runtime.history_rows
    older = sorted(newest.parent.glob(f"{newest.name}.[0-9]"), reverse=True)
    for path in (*older, newest):
        # Of a file that ends before that nothing else is read.
        if _last_time(path) <= after:
            continue
        try:
            with path.open("rb") as lines:
                yield from _rows(lines, after)
        except FileNotFoundError:
            continue


def _rows(lines: Iterator[bytes], after: float) -> Iterator[Row]:
    for line in lines:
        try:
            if _head(line).time > after:
                yield _decode(line)
        except DECODE_ERRORS:
            # A full disk leaves parts of lines, and another version may write other rows.
            continue


def last_time(runtime: RuntimeDir) -> float:
    """Return when the last row ended, in Unix seconds; 0 where there is none."""
    return _last_time(runtime.history_rows)


def _last_time(path: Path) -> float:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return 0.0
    for line in reversed(lines):
        try:
            return _head(line).time
        except DECODE_ERRORS:
            continue
    return 0.0
