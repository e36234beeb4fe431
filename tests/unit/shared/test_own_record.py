"""A process' record comes back, whatever has kept it from its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.own_record import OwnRecord
from shared.runtime_dir import ProcessRecord, read_record, write_record

RECORD = ProcessRecord(pid=1, start_ticks=2, version="0", started=3.25, wire="w")


def test_it_is_written_once_there_is_a_place_and_what_hinders_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "not yet" / "record.json"
    own = OwnRecord(path, RECORD)
    own.tend()
    own.tend()
    [told] = [one.getMessage() for one in caplog.records]
    assert told == f"can not write {path}: No such file or directory; trying again"
    path.parent.mkdir()
    own.tend()
    assert read_record(path, ProcessRecord) == RECORD


@pytest.mark.parametrize("other", ["gone", "torn", "noted by another", "empty"])
def test_it_is_written_again_where_it_is_another_one(tmp_path: Path, other: str) -> None:
    path = tmp_path / "record.json"
    own = OwnRecord(path, RECORD)
    own.tend()
    match other:
        case "gone":
            path.unlink()
        case "torn":
            path.write_bytes(path.read_bytes()[:-5])
        case "noted by another":
            write_record(path, replace(RECORD, wire=""))
        case "empty":
            path.write_bytes(b"")
    own.tend()
    assert read_record(path, ProcessRecord) == RECORD


def test_one_that_is_in_its_place_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, RECORD)
    before = path.stat()
    own = OwnRecord(path, RECORD)
    own.tend()
    own.tend()
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
