import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controlplane.discovery.discovered import Discovered
from controlplane.discovery.static import static_workers
from controlplane.health import HealthRules
from controlplane.health_window import WindowRules
from controlplane.prober import Prober
from controlplane.registry import Change, Registry
from shared.clock import SystemClock
from shared.table import Worker
from shared.transfer_attributes import TransferAttributes
from shared.worker_attributes import WorkerAttributes
from shared.worker_rank import rank_ids
from tests.unit.controlplane.fake_worker import FakeWorker
from tests.unit.controlplane.waiting import until


class Setting:
    def __init__(self, worker: FakeWorker, rules: HealthRules | None = None) -> None:
        self.worker = worker
        self.registry = Registry(rules or HealthRules())
        self.registry.sync(static_workers([worker.url]), now=SystemClock().monotonic(), wall=0.0)
        self.changes: list[Change] = []
        self.prober = Prober(
            self.registry, endpoint="/health", timeout=5.0, clock=SystemClock(), changed=self.changes.append
        )

    @property
    def record(self) -> Worker:
        record = self.registry.worker(self.worker.url)
        assert record is not None
        return record

    async def until_state(self, state: str) -> None:
        await until(lambda: self.record.state == state)


def play(scene: Callable[[Setting], Awaitable[None]], rules: HealthRules | None = None) -> None:
    async def run() -> None:
        worker = FakeWorker()
        await worker.start()
        setting = Setting(worker, rules)
        async with asyncio.TaskGroup() as group:
            probing = group.create_task(setting.prober.run())
            await scene(setting)
            probing.cancel()
        await worker.stop()

    asyncio.run(run())


def test_a_worker_becomes_ready_with_its_models_and_version() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        assert setting.record.models == ("tiny",)
        assert setting.registry.members()[0].version == "0.32.0"
        assert [change.after.state for change in setting.changes] == ["ready"]

    play(scene)


def test_a_list_of_models_is_read_once_in_many_looks_and_anew_in_a_new_life() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        looks = setting.worker.seen["/health"]
        await until(lambda: setting.worker.seen["/health"] > looks + 5)
        assert setting.worker.seen["/v1/models"] == 1
        await setting.worker.stop()
        await until(lambda: setting.registry.lacks_version(setting.worker.url))
        await setting.worker.start()
        await until(lambda: setting.record.epoch == 2)
        assert setting.record.models == ("tiny",)
        assert setting.worker.seen["/v1/models"] == 2
        # No look may be under way at the end.
        setting.registry.use(HealthRules())
        looks = setting.worker.seen["/health"]
        await until(lambda: setting.worker.seen["/health"] > looks and not setting.worker.open_connections)

    play(scene, HealthRules(interval=0.05, failure_threshold=1000))


def models(*names: str) -> tuple[int, bytes]:
    return 200, json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()


def test_a_list_that_is_read_again_is_known_when_that_has_been_awaited() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        setting.worker.answers["/v1/models"] = models("tiny", "sql")
        await setting.prober.reread([setting.worker.url, "http://nobody.test:1"], 30)
        assert setting.record.models == ("tiny", "sql")

    # Nobody would look again of its own accord.
    play(scene, HealthRules(interval=3600.0))


class LoadsMeanwhile(dict[str, tuple[int, bytes]]):
    """Has a model more as soon as its list was read, and `loaded` is called then."""

    def __init__(self, before: dict[str, tuple[int, bytes]], loaded: Callable[[], None]) -> None:
        super().__init__(before)
        self._loaded = loaded

    def get(self, path: str, default: Any = None) -> Any:
        found = super().get(path, default)
        if path == "/v1/models" and b"sql" not in found[1]:
            self[path] = models("tiny", "sql")
            self._loaded()
        return found


def test_what_a_look_has_read_that_was_under_way_is_read_again() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        again: list[asyncio.Task[None]] = []

        def reread() -> None:
            again.append(asyncio.create_task(setting.prober.reread([setting.worker.url], 30)))

        setting.worker.answers = LoadsMeanwhile(setting.worker.answers, reread)
        reread()
        await until(lambda: len(again) == 2)
        await asyncio.gather(*again)
        assert setting.record.models == ("tiny", "sql")

    play(scene, HealthRules(interval=3600.0))


def test_nobody_waits_for_a_server_that_hangs_or_leaves() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        setting.worker.hangs.add("/health")
        await setting.prober.reread([setting.worker.url], 0.01)
        waiting = asyncio.create_task(setting.prober.reread([setting.worker.url], 3600))
        await asyncio.sleep(0)
        setting.registry.sync([], now=SystemClock().monotonic(), wall=0.0)
        setting.prober.follow()
        await waiting

    play(scene, HealthRules(interval=3600.0))


def test_a_worker_without_a_list_of_models_may_serve_any() -> None:
    async def scene(setting: Setting) -> None:
        setting.worker.answers["/v1/models"] = (401, b'{"error":"Unauthorized"}')
        setting.worker.answers["/version"] = (404, b"")
        await setting.until_state("ready")
        assert setting.record.models is None

    play(scene)


def test_an_error_status_is_told_and_the_worker_is_looked_at_again() -> None:
    async def scene(setting: Setting) -> None:
        setting.worker.answers["/health"] = (503, b"")
        await until(lambda: setting.record.reason == "GET /health answered 503")
        setting.worker.answers["/health"] = (200, b"")
        await setting.until_state("ready")

    play(scene)


def test_evidence_against_a_killed_worker_is_followed_up_at_once_and_its_return_is_seen() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        await setting.worker.stop()
        setting.prober.suspect(setting.worker.url, 1)
        await setting.until_state("unhealthy")
        assert setting.record.reason == "connection refused"
        await setting.worker.start()
        await setting.until_state("ready")
        assert (setting.record.epoch, setting.record.models) == (2, ("tiny",))

    play(scene)


def test_a_storm_of_false_evidence_causes_few_looks_and_no_change() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        before = setting.worker.seen["/health"]
        turns = 0

        def complain() -> bool:
            nonlocal turns
            turns += 1
            setting.prober.suspect(setting.worker.url, 1)
            return setting.worker.seen["/health"] >= before + 2

        await until(complain)
        assert turns > 20
        assert setting.worker.seen["/health"] <= before + 3
        assert setting.record.state == "ready"

    play(scene)


def test_evidence_about_another_life_or_another_worker_is_ignored() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        setting.prober.suspect(setting.worker.url, 7)
        setting.prober.suspect("http://nobody", 1)

    play(scene)


def test_a_list_of_models_that_can_not_be_read_costs_the_list_and_not_the_prober() -> None:
    async def scene(setting: Setting) -> None:
        setting.worker.answers["/v1/models"] = (200, b'{"data":[{"id":"m","x":"\xff"}]}')
        await setting.until_state("ready")
        looks = setting.worker.seen["/v1/models"]
        setting.prober.suspect(setting.worker.url, 1)
        await until(lambda: setting.worker.seen["/v1/models"] > looks)
        assert setting.record.models is None

    play(scene)


def test_a_changed_check_is_made_at_once_however_far_off_the_next_one_was() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        setting.worker.answers["/other"] = (503, b"")
        setting.registry.use(HealthRules(failure_threshold=1))
        setting.prober.use(endpoint="/other", timeout=1.0)
        await setting.until_state("unhealthy")
        assert setting.record.reason == "GET /other answered 503"

    play(scene)


def test_how_long_a_check_takes_counts_where_there_is_a_rule_for_it() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        setting.registry.use(HealthRules(window=WindowRules(size=1, max_response_time=1e-9)))
        setting.prober.use(endpoint="/health", timeout=5.0)
        await setting.until_state("unhealthy")
        assert "1 checks took" in setting.record.reason

    play(scene)


def test_a_server_is_looked_at_once_for_all_its_ranks() -> None:
    async def run() -> None:
        worker = FakeWorker()
        await worker.start()
        setting = Setting(worker, HealthRules(interval=1000.0))
        ids = rank_ids(worker.url, 4)
        setting.registry.sync(static_workers(ids), now=SystemClock().monotonic(), wall=0.0)

        def are(state: str) -> bool:
            return {member.worker.state for member in setting.registry.members()} == {state}

        async with asyncio.TaskGroup() as group:
            probing = group.create_task(setting.prober.run())
            await until(lambda: are("ready"))
            assert worker.seen == {"/health": 1, "/version": 1, "/v1/models": 1}
            await worker.stop()
            # One rank's failure has all looked at.
            setting.prober.suspect(ids[2], 1)
            await until(lambda: are("unhealthy"))
            await worker.start()
            await until(lambda: are("ready"))
            assert [member.worker.epoch for member in setting.registry.members()] == [2] * 4
            probing.cancel()
        await worker.stop()

    asyncio.run(run())


def test_a_rank_that_comes_to_a_server_is_looked_at_at_once() -> None:
    async def run() -> None:
        worker = FakeWorker()
        await worker.start()
        setting = Setting(worker, HealthRules(interval=1000.0))
        ids = rank_ids(worker.url, 2)
        for have in (ids[:1], ids):
            setting.registry.sync(static_workers(have), now=SystemClock().monotonic(), wall=0.0)
            if len(have) == 1:
                probing = asyncio.create_task(setting.prober.run())
            setting.prober.follow()
            await until(lambda: {one.worker.state for one in setting.registry.members()} == {"ready"})
        probing.cancel()
        await asyncio.wait((probing,))
        await worker.stop()

    asyncio.run(run())


def test_a_prefill_workers_bootstrap_server_is_asked_in_each_life() -> None:
    async def run() -> None:
        worker, bootstrap = FakeWorker(), FakeWorker()
        await worker.start()
        await bootstrap.start()
        setting = Setting(worker)
        said = WorkerAttributes(role="prefill", transfer=TransferAttributes(bootstrap_port=bootstrap.port))
        setting.registry = Registry(HealthRules())
        setting.registry.sync([Discovered(id=worker.url, attributes=said)], now=SystemClock().monotonic(), wall=0.0)
        prober = Prober(
            setting.registry,
            endpoint="/health",
            timeout=5.0,
            bootstrap_port=1,
            clock=SystemClock(),
            changed=setting.changes.append,
        )

        def engines() -> dict[str, str]:
            transfer = setting.record.transfer
            return transfer.engine_ids if transfer is not None else {}

        async with asyncio.TaskGroup() as group:
            probing = group.create_task(prober.run())
            # It comes after the worker.
            await setting.until_state("ready")
            bootstrap.answers["/query"] = (200, b'{"0":{"engine_id":"first","worker_addr":{}},"x":{"engine_id":"y"}}')
            await until(lambda: engines() == {"0": "first"})
            bootstrap.answers["/query"] = (200, b'{"0":{"engine_id":"second"}}')
            await worker.stop()
            prober.suspect(worker.url, 1)
            await until(lambda: setting.registry.lacks_engines(worker.url))
            await worker.start()
            await until(lambda: engines() == {"0": "second"})
            assert setting.record.epoch == 2
            probing.cancel()
        await worker.stop()
        await bootstrap.stop()

    asyncio.run(run())


def test_nobody_else_is_asked_for_engines() -> None:
    async def scene(setting: Setting) -> None:
        await setting.until_state("ready")
        assert not setting.worker.seen["/query"]

    play(scene)


@pytest.mark.parametrize("path", ["/health", "/v1/models"])
def test_the_router_itself_is_no_worker(path: str) -> None:
    async def scene(setting: Setting) -> None:
        setting.worker.answers[path] = 508, b"{}"
        await until(lambda: "the router's own" in setting.record.reason)
        assert setting.record.state == "starting"
        setting.worker.answers[path] = 200, b"{}"
        await setting.until_state("ready")

    play(scene)
