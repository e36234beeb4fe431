from pathlib import Path

import pytest

from controlplane.last_known_good import next_epoch, read_epoch, read_table, write_epoch
from shared.messages import encode
from shared.runtime_dir import RuntimeDir
from shared.table import Worker, make_table

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
