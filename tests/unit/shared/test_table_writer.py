import asyncio
from pathlib import Path

import pytest

import shared.table_writer
from controlplane.last_known_good import read_table
from shared.runtime_dir import RuntimeDir
from shared.table import Worker, make_table
from shared.table_writer import TableWriter
from tests.unit.controlplane.waiting import until

TABLE = make_table(epoch=4, version=2, workers=[Worker(id="a", url="http://a")])
NEWER = make_table(epoch=4, version=3)


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
    monkeypatch.setattr(shared.table_writer, "RETRY_PAUSE", 0.01)

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
