"""Slots and views: what stays and what goes when the table changes, and whose figures count."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import pytest
import trustme
from msgspec.structs import replace

from dataplane.accounting import Accounting
from dataplane.fleet import Fleet
from dataplane.fleet_view import PoolName
from dataplane.policies import policy_names
from dataplane.slot import Slot
from dataplane.upstream.connection import UpstreamConnection
from shared.messages import INFLIGHT_UNKNOWN_AFTER, LOAD_UNKNOWN_AFTER, LoadReport, PlaneInflight, WorkerLoad
from shared.table import Breaker, ModelCard, Role, RoutingTable, Settings, Stamp, Worker, WorkerState, make_table
from shared.tls import TlsFileError
from tests.unit.dataplane.listening import listener

STAMP = Stamp(1, 1, 0)
POOLS: dict[str, PoolName] = {"plain": "plain", "prefill": "prefill", "decode": "decode"}


class TestFleet(Fleet):
    """A fleet whose time the test sets."""

    __test__ = False

    def __init__(self) -> None:
        self.accounting = Accounting()
        self.time = 100.0
        super().__init__(self.accounting, plane_slot=0, rng=random.Random(1))

    def now(self) -> float:
        return self.time

    def slot(self, name: str) -> Slot:
        return next(slot for slot in self.view.ready if slot.id == name)

    def ids(self, model: str | None) -> list[str]:
        return [slot.id for slot in self.view.candidates(model)]


def with_fleet(test: Callable[[TestFleet], Awaitable[None] | None]) -> None:
    async def run() -> None:
        fleet = TestFleet()
        if (waiting := test(fleet)) is not None:
            await waiting
        fleet.close()

    asyncio.run(run())


def worker(
    name: str,
    *,
    epoch: int = 1,
    state: WorkerState = "ready",
    role: Role = "regular",
    models: tuple[str, ...] | None = None,
    url: str | None = None,
) -> Worker:
    return Worker(id=name, url=url or f"http://{name}:8000", epoch=epoch, state=state, role=role, models=models)


def table(
    workers: Sequence[Worker] = (), *, models: Sequence[str] = (), version: int = 1, settings: Settings | None = None
) -> RoutingTable:
    cards = [ModelCard(id=name, card=b"{}") for name in models]
    return make_table(epoch=1, version=version, workers=workers, models=cards, settings=settings)


# --- adopt -----------------------------------------------------------------------------------------------


def test_a_life_keeps_its_slot_over_versions_of_the_table() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a"), worker("b")]))
        kept = fleet.slot("a")
        kept.inflight = 2
        pool = kept.pool
        fleet.adopt(table([worker("c"), worker("a", models=("m",))], version=2))
        assert fleet.slot("a") is kept
        assert fleet.slot("a").pool is pool
        assert fleet.slot("a").inflight == 2
        fleet.adopt(table([worker("a", state="unhealthy")], version=3))
        fleet.adopt(table([worker("a")], version=4))
        assert fleet.slot("a") is kept

    with_fleet(test)


def test_a_new_life_gets_a_new_slot_and_the_old_ones_connections_close() -> None:
    async def test(fleet: TestFleet) -> None:
        async with listener() as port:
            url = f"http://127.0.0.1:{port}"
            fleet.adopt(table([worker("a", url=url), worker("b", url=url)]))
            old, gone = fleet.slot("a"), fleet.slot("b")
            old.inflight = 1
            idle: list[UpstreamConnection] = []
            busy: list[UpstreamConnection] = []
            for slot in (old, gone):
                idle.append(await slot.pool.connect(5))
                busy.append(await slot.pool.connect(5))
                slot.pool._release(idle[-1])
            fleet.adopt(table([worker("a", url=url, epoch=2)], version=2))
            new = fleet.slot("a")
            assert new is not old
            assert (new.inflight, new.epoch, new.pool.idle) == (0, 2, 0)
            assert all(connection.closed for connection in idle)
            # What is in use goes on, and is closed when it comes back.
            assert not any(connection.closed for connection in busy)
            for slot, connection in zip((old, gone), busy, strict=True):
                slot.pool._release(connection)
                assert connection.closed
                assert slot.pool.idle == 0

    with_fleet(test)


def test_a_view_that_was_pinned_stays_as_it_was() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a"), worker("b")]))
        pinned = fleet.view
        fleet.adopt(table([worker("c")], version=2))
        assert [slot.id for slot in pinned.candidates(None)] == ["a", "b"]
        assert fleet.ids(None) == ["c"]

    with_fleet(test)


def test_lives_that_left_are_kept_until_their_last_request_is_done() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a"), worker("b")]))
        busy, quiet = fleet.slot("a"), fleet.slot("b")
        busy.inflight = 1
        fleet.adopt(table(version=2))
        fleet.reap()
        assert busy in fleet._leaving
        assert quiet not in fleet._leaving
        busy.inflight = 0
        fleet.reap()
        assert not fleet._leaving

    with_fleet(test)


def test_counters_of_workers_that_left_are_forgotten() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a"), worker("b")]))
        fleet.accounting.worker_requests.update({"a": 1, "b": 2})
        fleet.adopt(table([worker("b", epoch=2)], version=2))
        assert dict(fleet.accounting.worker_requests) == {"b": 2}

    with_fleet(test)


def test_a_connection_is_counted_for_its_worker() -> None:
    async def test(fleet: TestFleet) -> None:
        async with listener() as port:
            url = f"http://127.0.0.1:{port}"
            fleet.adopt(table([worker("a", url=url), worker("b", url=url)]))
            connection = await fleet.slot("b").pool.connect(5)
            assert dict(fleet.accounting.connections_opened) == {"b": 1}
            connection.abort()

    with_fleet(test)


@pytest.mark.parametrize(
    ("url", "authority", "port"),
    [
        ("http://h:8000", b"h:8000", 8000),
        ("http://h", b"h", 80),
        ("https://h", b"h", 443),
        ("https://h:8443/", b"h:8443", 8443),
        ("http://[::1]:8000", b"[::1]:8000", 8000),
    ],
)
def test_where_a_worker_is(url: str, authority: bytes, port: int) -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a", url=url)]))
        slot = fleet.slot("a")
        assert slot.authority == authority
        assert slot.pool._port == port
        assert (slot.pool._tls is not None) == url.startswith("https")

    with_fleet(test)


def test_what_workers_must_prove_may_change_with_the_table(tmp_path: Path) -> None:
    def test(fleet: TestFleet) -> None:
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        workers = [worker("a", url="https://a"), worker("b", url="https://b")]
        fleet.adopt(table(workers))
        tls = fleet.slot("a").pool._tls
        assert tls is not None
        first = tls.context()
        fleet.adopt(table(workers, version=2))
        assert tls.is_current(first)
        settings = Settings(worker_ca_file=str(tmp_path / "ca.pem"), worker_server_name="vllm.test")
        fleet.adopt(table(workers, version=3, settings=settings))
        assert not tls.is_current(first)
        assert tls.context().cert_store_stats()["x509_ca"] == 1
        assert tls.server_name == "vllm.test"
        assert fleet.slot("b").pool._tls is tls
        # A file that is not there keeps nobody from taking the table: connecting will say so.
        fleet.adopt(table([*workers, worker("c", url="https://c")], settings=Settings(worker_ca_file="/no/file")))
        with pytest.raises(TlsFileError):
            tls.context()

    with_fleet(test)


# --- candidates ------------------------------------------------------------------------------------------

EVERY_STATE: tuple[WorkerState, ...] = ("starting", "ready", "draining", "unhealthy", "ejected", "gone")
EVERY_ROLE: tuple[Role, ...] = ("regular", "prefill", "decode")


def test_only_ready_workers_are_candidates_in_the_tables_order_prefill_workers_last() -> None:
    def test(fleet: TestFleet) -> None:
        workers = [worker(f"{state}-{role}", state=state, role=role) for state in EVERY_STATE for role in EVERY_ROLE]
        fleet.adopt(table([worker("z"), *workers, worker("b")]))
        assert fleet.ids(None) == ["z", "ready-regular", "ready-decode", "b"]
        assert fleet.ids("any") == ["z", "ready-regular", "ready-decode", "b"]
        assert [[slot.id for slot in group] for group in fleet.view.groups(None)][1:] == [["ready-prefill"]]
        halves = {pool: [slot.id for slot in view.candidates("any")] for pool, view in fleet.view.pools.items()}
        assert halves == {"prefill": ["ready-prefill"], "decode": ["ready-decode"]}

    with_fleet(test)


def test_the_best_priority_is_offered_and_weights_change_with_the_table() -> None:
    def test(fleet: TestFleet) -> None:
        low, zero = replace(worker("low"), priority=10, weight=2), replace(worker("zero"), weight=0)
        fleet.adopt(table([low, zero, worker("a", models=("m",))], models=["m"]))
        assert [[slot.id for slot in group] for group in fleet.view.groups("m")] == [["a"], ["low"], ["zero"]]
        assert fleet.ids(None) == ["a"]
        assert (fleet.view.has_priorities, fleet.view.policy.weighted) == (True, True)
        kept = fleet.slot("low")
        assert kept.weight == 2
        assert fleet.slot("zero").weight == 1
        fleet.adopt(table([replace(low, weight=3, priority=50, capacity=8)], version=2))
        assert fleet.slot("low") is kept
        assert (kept.weight, kept.figures().capacity) == (3, 8)
        assert (fleet.view.has_priorities, fleet.view.policy.weighted) == (False, False)

    with_fleet(test)


def test_candidates_by_model() -> None:
    def test(fleet: TestFleet) -> None:
        workers = [
            worker("a", models=("m", "n")),
            worker("any"),
            worker("b", models=("m",)),
            worker("none", models=()),
            worker("down", models=("m", "o"), state="unhealthy"),
        ]
        fleet.adopt(table(workers, models=["m", "n", "o"]))
        assert fleet.ids(None) == ["a", "any", "b", "none"]
        assert fleet.ids("m") == ["a", "any", "b"]
        assert fleet.ids("n") == ["a", "any"]
        # Nobody that is ready has told of these; one that has told nothing may serve them.
        assert fleet.ids("o") == ["any"]
        assert fleet.ids("unheard-of") == ["any"]

    with_fleet(test)


def test_a_model_that_a_worker_tells_is_served_even_without_a_card() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a", models=("m",)), worker("b", models=("n",))]))
        assert fleet.ids("m") == ["a"]
        assert fleet.ids("x") == []

    with_fleet(test)


def test_a_model_is_known_while_some_worker_has_it_ready_or_not() -> None:
    def test(fleet: TestFleet) -> None:
        assert not fleet.view.knows("m")
        fleet.adopt(table([worker("a", models=("m",), state="unhealthy"), worker("b", models=("n",))], models=["m"]))
        assert fleet.view.knows("m")
        assert fleet.ids("m") == []
        assert not fleet.view.knows("x")
        fleet.adopt(table([worker("b", models=("n",))], version=2))
        assert not fleet.view.knows("m")

    with_fleet(test)


def test_before_the_first_table_there_is_nobody() -> None:
    def test(fleet: TestFleet) -> None:
        assert fleet.ids(None) == []
        assert fleet.ids("m") == []
        assert fleet.stale

    with_fleet(test)


# --- policy ----------------------------------------------------------------------------------------------


def test_a_table_with_an_unknown_policy_is_refused() -> None:
    reason = Fleet.refuse(table(settings=Settings(policy="nonesuch")))
    assert reason is not None
    assert "nonesuch" in reason
    for name in policy_names():
        assert Fleet.refuse(table(settings=Settings(policy=name))) is None


def test_settings_are_tried_with_the_files_that_they_name(tmp_path: Path) -> None:
    def test(fleet: TestFleet) -> None:
        assert fleet.refuse_settings(Settings()) is None
        reason = fleet.refuse_settings(Settings(policy="nonesuch"))
        assert reason is not None
        assert "nonesuch" in reason
        missing = Settings(worker_ca_file=str(tmp_path / "ca.pem"))
        reason = fleet.refuse_settings(missing)
        assert reason is not None
        assert "ca.pem: No such file" in reason
        reason = fleet.refuse_settings(Settings(worker_key_file=str(tmp_path / "key")))
        assert reason is not None
        assert "key: No such file" in reason
        # A table with it is served: not all workers need the file.
        assert fleet.refuse(table(settings=missing)) is None

    with_fleet(test)


def test_a_model_goes_by_its_own_policy_in_each_pool_that_has_none() -> None:
    def test(fleet: TestFleet) -> None:
        settings = Settings(policy="random", decode_policy="least_load", model_policies={"m": "power_of_two"})
        fleet.adopt(table([worker("a"), worker("p", role="prefill"), worker("d", role="decode")], settings=settings))
        for pool, own, otherwise in (
            ("plain", "power_of_two", "random"),
            ("prefill", "power_of_two", "random"),
            ("decode", "least_load", "least_load"),
        ):
            view = fleet.view.of(POOLS[pool])
            assert [view.policy_of(model).name for model in ("m", "n", None)] == [own, otherwise, otherwise]
        fleet.adopt(table([worker("a")], version=2))
        assert not fleet.view.model_policies

    with_fleet(test)


def test_a_policy_remembers_its_turns_for_as_long_as_its_name_stays() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")]))
        first = fleet.view.policy
        fleet.adopt(table([worker("a"), worker("b")], version=2, settings=Settings(connect_timeout=1)))
        assert fleet.view.policy is first
        fleet.adopt(table([worker("a")], version=3, settings=Settings(policy="random")))
        assert fleet.view.policy.name == "random"
        fleet.adopt(table([worker("a")], version=4))
        assert fleet.view.policy.name == Settings().policy
        assert fleet.view.policy is not first

    with_fleet(test)


def test_the_settings_and_the_header_names_are_the_tables() -> None:
    def test(fleet: TestFleet) -> None:
        settings = Settings(request_id_headers=("a", "b"), max_payload_size=7)
        fleet.adopt(table(settings=settings))
        assert fleet.view.settings == settings
        assert fleet.view.request_id_headers == (b"a", b"b")

    with_fleet(test)


# --- engines' figures ------------------------------------------------------------------------------------


def engine(running: float, *, age: float = 0.0) -> WorkerLoad:
    return WorkerLoad(running, 0.0, 0.0, age)


def loads(seq: int, running: float, *, epoch: int = 1, age: float = 0.0, name: str = "a") -> LoadReport:
    return LoadReport(Stamp(epoch, 1, 0), seq, {name: engine(running, age=age)})


def test_the_newest_report_of_one_control_plane_wins() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")]))
        slot = fleet.slot("a")
        for report, expected in [
            (loads(5, 50), 50),
            (loads(4, 40), 50),
            (loads(5, 41), 50),
            (loads(6, 60), 60),
            (loads(1, 10, epoch=2), 10),
            (loads(1, 11, epoch=2), 10),
            (loads(2, 20, epoch=2), 20),
            # One whose epoch file was lost counts from its own beginning, too.
            (loads(1, 30), 30),
            (loads(1, 31), 30),
        ]:
            fleet.take_load(report)
            assert slot.load() == expected

    with_fleet(test)


def test_a_report_names_workers_that_are_not_here() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")]))
        fleet.take_load(LoadReport(STAMP, 1, {"x": engine(9), "a": engine(3)}))
        assert fleet.slot("a").load() == 3

    with_fleet(test)


def test_a_new_life_has_no_figures_of_the_old_one() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")]))
        fleet.take_load(loads(1, 50))
        fleet.adopt(table([worker("a", epoch=2)], version=2))
        assert fleet.slot("a").load() == 0

    with_fleet(test)


def test_a_figure_ages_from_when_it_was_read_at_the_engine() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")]))
        slot = fleet.slot("a")
        fleet.take_load(loads(1, 50, age=2.0))
        assert slot.load() == 50
        fleet.time += LOAD_UNKNOWN_AFTER - 2.0
        assert slot.load() == 50
        fleet.time += 0.001
        assert slot.load() == 0
        fleet.take_load(loads(2, 51))
        assert slot.load() == 51
        fleet.take_load(loads(3, 52, age=LOAD_UNKNOWN_AFTER + 1))
        assert slot.load() == 0

    with_fleet(test)


# --- other planes ----------------------------------------------------------------------------------------


def others(plane: str, seq: int, **counts: int) -> PlaneInflight:
    return PlaneInflight(STAMP, plane, seq, counts, {name: 100 * count for name, count in counts.items()})


def test_what_the_others_have_is_summed_and_the_newest_report_of_each_counts() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a"), worker("b")]))
        a, b = fleet.slot("a"), fleet.slot("b")
        for report, expected in [
            (others("p", 1, a=2, b=1), (2, 1)),
            (others("q", 7, a=3), (5, 1)),
            (others("p", 1, a=9), (5, 1)),
            (others("p", 2, b=4), (3, 4)),
            (others("q", 6, a=9), (3, 4)),
            (others("q", 8), (0, 4)),
            (others("p", 3, x=8), (0, 0)),
            (others("p", 4), (0, 0)),
        ]:
            fleet.take_plane_inflight(report)
            assert (a.others, b.others) == expected
            assert (a.others_prefill, b.others_prefill) == (100 * expected[0], 100 * expected[1])

    with_fleet(test)


def test_an_empty_report_forgets_the_plane() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")]))
        fleet.take_plane_inflight(others("p", 1, a=1))
        fleet.take_plane_inflight(others("p", 2))
        assert not fleet._others

    with_fleet(test)


def test_a_new_slot_starts_with_what_the_others_have_there() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.take_plane_inflight(others("p", 1, a=2))
        fleet.take_plane_inflight(others("q", 1, a=3))
        fleet.adopt(table([worker("a")]))
        assert fleet.slot("a").others == 5
        assert fleet.slot("a").others_prefill == 500
        fleet.take_plane_inflight(others("q", 2))
        assert fleet.slot("a").others == 2

    with_fleet(test)


def test_a_stale_plane_trusts_only_its_own_figures() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")], settings=Settings(data_planes=4)))
        slot = fleet.slot("a")
        slot.inflight = 2
        fleet.take_plane_inflight(others("p", 1, a=1))
        slot.prefills.sent("request", 70)
        assert (slot.load(), slot.prefill()) == (8, 280)
        fleet.stale = False
        assert (slot.load(), slot.prefill()) == (3, 170)

    with_fleet(test)


def test_inflight_names_the_workers_that_have_any() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a"), worker("b"), worker("c", state="unhealthy")]))
        fleet.slot("b").inflight = 3
        fleet.slot("b").prefills.sent("request", 70)
        assert fleet.inflight() == {"b": 3}
        assert fleet.prefill() == {"b": 70}

    with_fleet(test)


def test_a_plane_that_fell_silent_is_no_longer_counted() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a"), worker("b")]))
        fleet.take_plane_inflight(PlaneInflight(STAMP, "dead", 1, {"a": 5}, {}))
        fleet.take_plane_inflight(PlaneInflight(STAMP, "living", 1, {"a": 1, "b": 2}, {}))
        fleet.time += INFLIGHT_UNKNOWN_AFTER - 1
        fleet.take_plane_inflight(PlaneInflight(STAMP, "living", 2, {"a": 1, "b": 2}, {}))
        fleet.reap()
        assert (fleet.slot("a").others, fleet.slot("b").others) == (6, 2)
        fleet.time += 2
        fleet.reap()
        assert (fleet.slot("a").others, fleet.slot("b").others) == (1, 2)
        fleet.take_plane_inflight(PlaneInflight(STAMP, "dead", 2, {"a": 3}, {}))
        assert fleet.slot("a").others == 4

    with_fleet(test)


# --- ejection and slow start -----------------------------------------------------------------------------


def ejected(name: str, since: float) -> Worker:
    return msgspec.structs.replace(worker(name, state="ejected"), since=since)


def test_ejected_workers_are_left_out_and_keep_their_slot() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a"), worker("b")]))
        slot = fleet.slot("a")
        fleet.adopt(table([ejected("a", 10.0), worker("b")], version=2))
        assert fleet.ids(None) == ["b"]
        fleet.adopt(table([worker("a"), worker("b")], version=3))
        assert fleet.slot("a") is slot

    with_fleet(test)


def test_g_break_2_ejections_and_breakers_count_together_and_the_first_stay_out() -> None:
    def test(fleet: TestFleet) -> None:
        broken = msgspec.structs.replace(worker("c"), breaker=Breaker(state="open", since=15.0))
        fleet.adopt(table([ejected("a", 20.0), ejected("b", 10.0), broken, worker("d")]))
        assert fleet.ids(None) == ["a", "d"]
        fleet.adopt(table([ejected("a", 20.0), ejected("b", 10.0)], version=2))
        assert fleet.ids(None) == ["a", "b"]

    with_fleet(test)


def test_an_ejected_worker_gets_no_probe() -> None:
    def test(fleet: TestFleet) -> None:
        half_open = Breaker(state="half-open")
        fleet.adopt(table([msgspec.structs.replace(worker("a"), breaker=half_open), worker("b")]))
        assert fleet.view.recovering
        fleet.adopt(table([msgspec.structs.replace(ejected("a", 1.0), breaker=half_open), worker("b")], version=2))
        assert not fleet.view.recovering

    with_fleet(test)


def test_a_worker_whose_ejection_is_over_starts_slowly() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([ejected("a", 1.0), worker("b")]))
        fleet.time += 60.0
        fleet.adopt(table([worker("a"), worker("b")], version=2))
        candidates = fleet.view.candidates(None)

        def chosen() -> int:
            return sum(len(fleet.preferred(candidates, fleet.time)) == 2 for _ in range(1000))

        assert 50 < chosen() < 150
        fleet.time += 30.0
        fleet.reap()
        assert chosen() == 1000

    with_fleet(test)
