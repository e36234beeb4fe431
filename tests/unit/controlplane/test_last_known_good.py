import asyncio
from pathlib import Path

import pytest

import controlplane.last_known_good
from controlplane.last_known_good import TableWriter, next_epoch, read_epoch, read_table, write_epoch
from shared.messages import encode
from shared.runtime_dir import RuntimeDir
from shared.table import Worker, make_table
from tests.unit.controlplane.waiting import until

TABLE = make_table(epoch=4, version=2, workers=[Worker(id="a", url="http://a")])
NEWER = make_table(epoch=4, version=3)


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    assert read_table(runtime) is None
    assert read_epoch(runtime) == 0


def test_what_can_not_be_read_counts_as_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runtime = RuntimeDir(tmp_path)
    runtime.table.write_bytes(encode(TABLE)[:-3])
    runtime.epoch.write_text("many")
    assert read_table(runtime) is None
    assert read_epoch(runtime) == 0
    assert len(caplog.records) == 2


def test_epochs_rise_whatever_the_clock_says(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    assert next_epoch(0, 12.3456) == 12345
    assert next_epoch(99999, 12.3456) == 100000
    write_epoch(runtime, 7)
    assert read_epoch(runtime) == 7


def test_an_epoch_that_can_not_be_stored_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_epoch(RuntimeDir(tmp_path / "none"), 7)
    assert "can not store the epoch" in caplog.text


def test_the_newest_table_is_written(tmp_path: Path) -> None:
    async def run() -> None:
        runtime = RuntimeDir(tmp_path)
        writer = TableWriter(runtime)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(writer.run())
            writer.note(TABLE)
            writer.note(NEWER)
            await until(lambda: read_table(runtime) == NEWER)
            writer.note(TABLE)
            await until(lambda: read_table(runtime) == TABLE)
            task.cancel()

    asyncio.run(run())


def test_a_disk_that_takes_nothing_is_logged_once_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        runtime = RuntimeDir(tmp_path / "later")
        writer = TableWriter(runtime)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(writer.run())
            writer.note(TABLE)
            await until(lambda: bool(caplog.records))
            writer.note(NEWER)
            runtime.path.mkdir()
            writer.note(NEWER)
            await until(lambda: read_table(runtime) == NEWER)
            task.cancel()

    asyncio.run(run())
    assert len([record for record in caplog.records if "can not keep" in record.message]) == 1


def test_the_last_table_is_written_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controlplane.last_known_good, "RETRY_PAUSE", 0.01)

    async def run() -> None:
        runtime = RuntimeDir(tmp_path / "later")
        writer = TableWriter(runtime)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(writer.run())
            writer.note(NEWER)
            await until(lambda: bool(caplog.records))
            runtime.path.mkdir()
            await until(lambda: read_table(runtime) == NEWER)
            task.cancel()

    asyncio.run(run())
    assert len([record for record in caplog.records if "can not keep" in record.message]) == 1
