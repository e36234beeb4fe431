import pytest

from controlplane.load_page import EngineLoad
from controlplane.loads import Loads
from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad
from shared.table import Worker

WORKER = Worker(id="a", url="http://a", state="ready")
LOAD = EngineLoad(2.0, 1.0, 0.5)


def test_the_newest_figures_with_their_age() -> None:
    loads = Loads()
    loads.note(WORKER, EngineLoad(9.0, 9.0, 0.9), measured=9.0, inflight=0)
    loads.note(WORKER, LOAD, measured=10.0, inflight=0)
    assert loads.report({"a": WORKER}, now=10.5) == {"a": WorkerLoad(2.0, 1.0, 0.5, 0.5)}


@pytest.mark.parametrize(
    ("workers", "now"),
    [
        ({}, 10.1),
        ({"a": Worker(id="a", url="http://a", epoch=2)}, 10.1),
        ({"a": WORKER}, 10.0 + LOAD_UNKNOWN_AFTER),
    ],
    ids=["worker gone", "another life", "too old"],
)
def test_figures_that_hold_no_longer_are_forgotten(workers: dict[str, Worker], now: float) -> None:
    loads = Loads()
    loads.note(WORKER, LOAD, measured=10.0, inflight=0)
    assert loads.report(workers, now=now) == {}
    assert loads.report({"a": WORKER}, now=10.1) == {}


def test_a_worker_that_told_figures_and_does_not_any_more_is_silent() -> None:
    loads, table = Loads(), {"a": WORKER, "b": Worker(id="b", url="http://b", state="ready")}
    loads.note(WORKER, LOAD, measured=10.0, inflight=0)
    assert not loads.silent(table, now=1000.0), "nobody knows yet how often it is read"
    loads.note(WORKER, LOAD, measured=10.5, inflight=0)
    assert not loads.silent(table, now=20.4)
    assert loads.silent(table, now=20.5) == {"a"}
    assert not loads.silent({"a": Worker(id="a", url="http://a", epoch=2)}, now=20.5)


def test_a_worker_that_is_seldom_read_is_not_silent() -> None:
    loads, table = Loads(), {"a": WORKER}
    loads.note(WORKER, LOAD, measured=0.0, inflight=0)
    loads.note(WORKER, LOAD, measured=60.0, inflight=0)
    assert not loads.silent(table, now=239.0)
    assert loads.silent(table, now=240.0) == {"a"}


def age(loads: Loads, now: float) -> float:
    return loads.report({"a": WORKER}, now=now)["a"].age


def test_g_bal_3_figures_of_requests_that_stand_still_with_nobody_there_are_not_believed() -> None:
    loads = Loads()
    loads.note(WORKER, LOAD, measured=10.0, inflight=3)
    loads.note(WORKER, LOAD, measured=10.5, inflight=0)
    loads.note(WORKER, LOAD, measured=11.0, inflight=0)
    assert age(loads, 11.1) == pytest.approx(0.1)
    loads.note(WORKER, LOAD, measured=11.5, inflight=0)
    assert age(loads, 11.6) == LOAD_UNKNOWN_AFTER
    # For as long as it lasts.
    loads.note(WORKER, LOAD, measured=60.0, inflight=0)
    assert age(loads, 60.1) == LOAD_UNKNOWN_AFTER


@pytest.mark.parametrize(
    ("load", "inflight"),
    [(EngineLoad(2.0, 1.0, 0.51), 0), (EngineLoad(1.0, 1.0, 0.5), 0), (LOAD, 1)],
    ids=["the cache moves", "a request ended", "a plane has a request there"],
)
def test_g_bal_3_what_moves_or_has_a_reason_is_believed(load: EngineLoad, inflight: int) -> None:
    loads = Loads()
    for tenth in range(100, 130, 5):
        loads.note(WORKER, LOAD, measured=tenth / 10, inflight=0)
    assert age(loads, 12.6) == LOAD_UNKNOWN_AFTER
    loads.note(WORKER, load, measured=13.0, inflight=inflight)
    assert age(loads, 13.1) == pytest.approx(0.1)


def test_g_bal_3_an_idle_engine_is_believed_however_long_it_is_idle() -> None:
    loads = Loads()
    for second in range(20):
        # What is cached fills blocks although nothing runs.
        loads.note(WORKER, EngineLoad(0.0, 0.0, 0.9), measured=float(second), inflight=0)
    assert age(loads, 19.1) == pytest.approx(0.1)


def test_another_life_begins_anew() -> None:
    loads = Loads()
    loads.note(WORKER, LOAD, measured=10.0, inflight=0)
    reborn = Worker(id="a", url="http://a", state="ready", epoch=2)
    loads.note(reborn, LOAD, measured=12.0, inflight=0)
    assert loads.report({"a": reborn}, now=12.1)["a"].age == pytest.approx(0.1)
