"""The fleet's breakers: evidence of several planes, one probe for all, and what the table says."""

from __future__ import annotations

from controlplane.breaker import Breakers, Transition
from shared.breaker import BreakerRules, ProbeNewsKind
from shared.messages import Evidence, ProbeNews
from shared.table import Breaker, BreakerState, Worker
from tests.unit.controlplane.reports import identity

RULES = BreakerRules(failure_threshold=4, success_threshold=1, timeout=10.0)
WORKER = Worker(id="a", url="http://a", epoch=2, state="ready")
P, Q = identity("p", slot=0), identity("q", slot=1)


class Scene:
    def __init__(self, rules: BreakerRules | None = RULES) -> None:
        self.epochs: dict[str, int] = {"a": 2}
        self.changes: list[Transition | None] = []
        self.breakers = Breakers(rules, self.epochs.get, self.changes.append)

    def fail(self, times: int, *, epoch: int = 2, requests: int = 1, tripped: bool = False) -> None:
        for number in range(times):
            plane = (P, Q)[number % 2]
            evidence = Evidence(plane, "a", epoch, "error-status", requests, tripped, 502)
            self.breakers.evidence(evidence, now=0.0, wall=1000.0)

    def tell(self, kind: ProbeNewsKind, plane: object = P, *, now: float = 10.0) -> None:
        self.breakers.probe(ProbeNews(Q if plane is Q else P, "a", 2, kind), now=now)

    def tick(self, now: float) -> None:
        self.breakers.tick(("p", "q"), now=now)

    def told(self) -> Breaker | None:
        return self.breakers.published(WORKER)

    def state(self) -> BreakerState:
        told = self.told()
        return told.state if told is not None else "closed"


def test_failures_of_all_planes_count_together() -> None:
    scene = Scene()
    scene.fail(3)
    assert scene.told() is None
    scene.fail(1)
    told = scene.told()
    assert told is not None
    assert (told.state, told.since) == ("open", 1000.0)
    assert told.reason == "failed 4 times within 120 s, at last: answered 502"
    assert scene.breakers.transitions == {("a", "open"): 1}
    assert scene.breakers.due() == 10.0


def test_one_failure_is_said_as_one() -> None:
    scene = Scene(RULES._replace(failure_threshold=1))
    scene.fail(1)
    told = scene.told()
    assert told is not None
    assert told.reason.startswith("failed 1 time within ")


def test_failed_probes_are_told() -> None:
    scene = Scene()
    scene.fail(4)
    for number, said in ((1, "; a probe has failed since"), (2, "; 2 probes have failed since")):
        scene.tick(10.0 * number)
        scene.tell("wanted", now=10.0 * number)
        scene.tell("sent", now=10.0 * number)
        scene.tell("failed", Q, now=10.0 * number)
        scene.tell("failed", now=10.0 * number)
        told = scene.told()
        assert told is not None
        assert told.reason.endswith(f"answered 502{said}")


def test_a_plane_that_has_opened_is_followed() -> None:
    scene = Scene()
    scene.fail(1, tripped=True)
    assert scene.state() == "open"


def test_one_plane_probes_for_all() -> None:
    scene = Scene()
    scene.fail(4)
    scene.tick(10.0)
    told = scene.told()
    assert told is not None
    assert (told.state, told.plane) == ("half-open", "")
    scene.tell("wanted")
    scene.tell("wanted", Q)
    told = scene.told()
    assert told is not None
    assert (told.plane, told.since) == ("p", 1000.0)
    scene.tell("sent")
    scene.tell("passed", Q)
    assert scene.state() == "half-open"
    scene.tell("passed")
    assert scene.state() == "closed"
    states = [change.state if change is not None else None for change in scene.changes]
    assert states == ["open", "half-open", None, "closed"]


def test_a_failed_probe_opens_it_again_since_the_first_time() -> None:
    scene = Scene()
    scene.fail(4)
    scene.tick(10.0)
    scene.tell("wanted")
    scene.tell("failed", now=11.0)
    told = scene.told()
    assert told is not None
    assert (told.state, told.since) == ("open", 1000.0)
    assert scene.breakers.due() == 21.0


def test_evidence_of_another_life_counts_for_nothing_and_a_new_life_begins_closed() -> None:
    scene = Scene()
    scene.fail(10, epoch=1)
    assert scene.told() is None
    scene.fail(4)
    scene.epochs["a"] = 3
    scene.tick(0.0)
    assert scene.told() is None
    assert scene.breakers.due() is None


def test_the_next_control_plane_goes_on_from_the_table() -> None:
    scene = Scene()
    opened = Worker(id="a", url="http://a", epoch=2, breaker=Breaker(state="open", reason="why", since=996.0))
    scene.breakers.restore([opened], now=50.0, wall=1000.0)
    assert scene.told() == Breaker(state="open", reason="why", since=996.0)
    assert scene.breakers.due() == 56.0
    probing = Worker(id="a", url="http://a", epoch=2, breaker=Breaker(state="half-open", since=1.0, plane="dead"))
    scene.breakers.restore([probing], now=50.0, wall=1000.0)
    assert scene.told() == Breaker(state="half-open", since=1.0)


def test_switched_off_nothing_opens() -> None:
    scene = Scene(None)
    scene.fail(100, tripped=True)
    scene.tick(0.0)
    assert scene.told() is None
    assert scene.breakers.due() is None
