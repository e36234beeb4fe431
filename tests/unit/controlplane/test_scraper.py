import asyncio
from collections.abc import Awaitable, Callable

import pytest

import controlplane.scraper
from controlplane.discovery.static import static_workers
from controlplane.health import HealthRules
from controlplane.loads import Loads
from controlplane.pacing import Pacing
from controlplane.registry import Change, ProbeResult, Registry
from controlplane.scraper import Scraper
from shared.clock import SystemClock
from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad
from tests.unit.controlplane.fake_worker import FakeWorker
from tests.unit.controlplane.waiting import until

BUSY = b"vllm:num_requests_running 5\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n"


class Setting:
    def __init__(self, workers: list[FakeWorker]) -> None:
        self.workers = workers
        self.registry = Registry(HealthRules())
        self.registry.sync(static_workers(worker.url for worker in workers), now=0.0, wall=0.0)
        self.loads = Loads()
        self.loaded = 0
        self.inflight = 0
        self.changes: list[Change] = []
        self.refusals: list[tuple[str, int]] = []
        self.scraper = Scraper(
            self.registry,
            self.loads,
            interval=0.05,
            pacing=Pacing(1.0, SystemClock()),
            clock=SystemClock(),
            loaded=self._count,
            changed=self.changes.append,
            refused=lambda worker, epoch: self.refusals.append((worker, epoch)),
            inflight_at=lambda worker: self.inflight,
        )

    def _count(self) -> None:
        self.loaded += 1

    def see(self, outcome: str, times: int = 1) -> None:
        for worker in self.workers:
            for _ in range(times):
                result = ProbeResult("ok") if outcome == "ok" else ProbeResult("failed", "no")
                self.registry.probed(worker.url, result, now=1.0, wall=1.0)

    def load(self, worker: FakeWorker) -> WorkerLoad | None:
        workers = {member.worker.id: member.worker for member in self.registry.members()}
        return self.loads.report(workers, now=SystemClock().monotonic()).get(worker.url)


def play(scene: Callable[[Setting], Awaitable[None]], *, workers: int = 1) -> None:
    async def run() -> None:
        fakes = [FakeWorker() for _ in range(workers)]
        for fake in fakes:
            await fake.start()
        setting = Setting(fakes)
        async with asyncio.TaskGroup() as group:
            scraping = group.create_task(setting.scraper.run())
            await scene(setting)
            scraping.cancel()
        for fake in fakes:
            await fake.stop()

    asyncio.run(run())


def test_figures_arrive_and_follow_the_engine() -> None:
    async def scene(setting: Setting) -> None:
        (worker,) = setting.workers
        setting.see("ok")
        await until(lambda: setting.load(worker) is not None)
        worker.answers["/metrics"] = (200, BUSY)
        await until(lambda: (load := setting.load(worker)) is not None and load.running == 5.0)
        assert setting.loaded >= 2

    play(scene)


def test_a_slow_worker_delays_nobody() -> None:
    async def scene(setting: Setting) -> None:
        slow, quick = setting.workers
        slow.hangs.add("/metrics")
        setting.see("ok")
        await until(lambda: quick.seen["/metrics"] >= 4)
        assert setting.load(quick) is not None
        assert setting.load(slow) is None
        assert slow.seen["/metrics"] <= 1

    play(scene, workers=2)


def test_workers_that_are_not_ready_are_left_alone() -> None:
    async def scene(setting: Setting) -> None:
        starting, ready = setting.workers
        setting.registry.probed(ready.url, ProbeResult("ok"), now=1.0, wall=1.0)
        await until(lambda: ready.seen["/metrics"] >= 3)
        assert starting.seen["/metrics"] == 0

    play(scene, workers=2)


def test_a_worker_without_metrics_has_no_load() -> None:
    async def scene(setting: Setting) -> None:
        (worker,) = setting.workers
        del worker.answers["/metrics"]
        setting.see("ok")
        await until(lambda: worker.seen["/metrics"] == 1)
        assert setting.load(worker) is None

    play(scene)


def test_a_worker_that_tells_its_load_a_little_later_is_soon_heard() -> None:
    async def scene(setting: Setting) -> None:
        (worker,) = setting.workers
        worker.answers["/metrics"] = (200, b"# nothing yet")
        setting.see("ok")
        await until(lambda: worker.seen["/metrics"] >= 2)
        worker.answers["/metrics"] = (200, BUSY)
        await until(lambda: setting.load(worker) is not None)

    play(scene)


@pytest.mark.parametrize("patience", [60.0, 0.0])
def test_ranks_that_begin_to_tell_later_are_no_news_at_first(
    patience: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(controlplane.scraper, "RANK_PATIENCE", patience)

    async def scene(setting: Setting) -> None:
        (worker,) = setting.workers
        worker.answers["/metrics"] = (200, b"# nothing yet")
        ids = [f"{worker.url}@{rank}" for rank in range(2)]
        setting.registry.sync(static_workers(ids), now=0.0, wall=0.0)
        for one in ids:
            setting.registry.probed(one, ProbeResult("ok"), now=1.0, wall=1.0)
        setting.scraper.follow()
        before = worker.seen["/metrics"]
        await until(lambda: worker.seen["/metrics"] >= before + 3)

    play(scene)
    told = [record.getMessage() for record in caplog.records if "has it so many ranks?" in record.getMessage()]
    assert len(told) == (0 if patience else 2)


def test_another_process_start_after_a_failure_is_a_new_life() -> None:
    async def scene(setting: Setting) -> None:
        (worker,) = setting.workers
        worker.answers["/metrics"] = (200, BUSY + b"process_start_time_seconds 1000\n")
        setting.see("ok")
        await until(lambda: setting.load(worker) is not None)
        setting.see("failed", 3)
        worker.answers["/metrics"] = (200, BUSY + b"process_start_time_seconds 2000\n")
        setting.see("ok", 2)
        await until(lambda: len(setting.changes) == 2)
        told, restarted = (change.after for change in setting.changes)
        assert (told.epoch, told.process_start) == (1, 1000.0)
        assert (restarted.epoch, restarted.process_start) == (2, 2000.0)

    play(scene)


def test_a_worker_that_refuses_is_reported_with_its_life() -> None:
    async def scene(setting: Setting) -> None:
        (worker,) = setting.workers
        setting.see("ok")
        await until(lambda: setting.load(worker) is not None)
        await worker.stop()
        await until(lambda: bool(setting.refusals))
        assert setting.refusals[0] == (worker.url, 1)
        await worker.start()

    play(scene)


def test_a_changed_interval_counts_from_the_next_reading_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(Pacing, "look", lambda _pacing, interval: asked.append(interval))

    async def scene(setting: Setting) -> None:
        await until(lambda: 0.05 in asked)
        setting.scraper.use(interval=3600.0)
        await until(lambda: 3600.0 in asked)

    play(scene)


def test_a_worker_without_gauges_is_asked_for_its_servers_load() -> None:
    async def scene(setting: Setting) -> None:
        (worker,) = setting.workers
        worker.answers["/metrics"] = (200, b"process_start_time_seconds 1000\n")
        worker.answers["/load"] = (200, b'{"server_load":0}')
        setting.see("ok")
        # A server that does not count says 0 as well.
        await until(lambda: worker.seen["/load"] >= 3)
        assert setting.load(worker) is None
        worker.answers["/load"] = (200, b'{"server_load":7}')
        await until(lambda: (load := setting.load(worker)) is not None and load.running == 7.0)
        worker.answers["/load"] = (200, b'{"server_load":0}')
        await until(lambda: (load := setting.load(worker)) is not None and load.running == 0.0)
        assert worker.seen["/metrics"] < worker.seen["/load"]

    play(scene)


def test_figures_that_stand_still_are_told_as_old_while_no_plane_has_a_request_there() -> None:
    async def scene(setting: Setting) -> None:
        (worker,) = setting.workers
        worker.answers["/metrics"] = (200, BUSY)
        setting.see("ok")
        await until(lambda: (load := setting.load(worker)) is not None and load.age >= LOAD_UNKNOWN_AFTER)
        setting.inflight = 1
        await until(lambda: (load := setting.load(worker)) is not None and load.age < LOAD_UNKNOWN_AFTER)

    play(scene)
