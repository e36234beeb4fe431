import pytest

from controlplane.load_page import EngineLoad
from controlplane.loads import Loads
from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad
from shared.table import Worker

WORKER = Worker(id="a", url="http://a", state="ready")
LOAD = EngineLoad(2.0, 1.0, 0.5)


def test_the_newest_figures_with_their_age() -> None:
    loads = Loads()
    loads.note(WORKER, EngineLoad(9.0, 9.0, 0.9), measured=9.0)
    loads.note(WORKER, LOAD, measured=10.0)
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
    loads.note(WORKER, LOAD, measured=10.0)
    assert loads.report(workers, now=now) == {}
    assert loads.report({"a": WORKER}, now=10.1) == {}
