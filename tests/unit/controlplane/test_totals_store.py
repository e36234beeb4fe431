import asyncio
from collections import Counter
from pathlib import Path

import pytest

from controlplane.planes import Planes
from controlplane.totals_store import TotalsStore
from shared.runtime_dir import RuntimeDir
from shared.table import BreakerState
from tests.unit.controlplane.reports import identity, report
from tests.unit.controlplane.waiting import until


class Life:
    """A control plane's store with what it counts."""

    def __init__(self, folder: Path, *alive: str) -> None:
        self.planes = Planes()
        self.transitions: Counter[tuple[str, BreakerState]] = Counter()
        self.runtime = RuntimeDir(folder)
        self.store = TotalsStore(self.runtime, self.planes, {"x": self.transitions}, lambda: {"a"})
        self.store.take_over(alive, 0.0)

    @property
    def finished(self) -> float:
        return self.planes.totals().counters.get("finished_requests", {}).get((), 0.0)


def test_what_was_counted_comes_back(tmp_path: Path) -> None:
    first = Life(tmp_path)
    assert first.finished == 0
    first.planes.counters(report(identity(), finished=5), 0.0)
    first.transitions.update({("a", "open"): 2, ("gone", "open"): 1})
    first.store.write()
    for second in (Life(tmp_path), Life(tmp_path, "p")):
        assert second.finished == 5
        assert second.transitions == {("a", "open"): 2}


def test_it_is_written_when_a_plane_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        first = Life(tmp_path)
        running = asyncio.create_task(first.store.run())
        first.planes.counters(report(identity(), finished=5), 0.0)
        first.store.write_soon()
        await until(first.runtime.totals.exists)
        running.cancel()

    asyncio.run(main())
    assert Life(tmp_path).finished == 5


def test_what_can_not_be_read_is_told_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    RuntimeDir(tmp_path).totals.write_bytes(b"{}")
    assert Life(tmp_path).finished == 0
    assert "can not be read" in caplog.text


def test_a_disk_that_takes_nothing_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    life = Life(tmp_path / "no such folder")
    life.store.write()
    life.store.write()
    assert caplog.text.count("can not keep what was counted") == 1
