"""Sums of planes become the figures of an interval; what an earlier interval or life did counts no more."""

from __future__ import annotations

from math import inf

from controlplane.outcomes import Outcomes
from controlplane.outliers import Sample
from controlplane.planes import Planes
from shared.plane_report import WorkerOutcomes
from tests.unit.controlplane.reports import identity, report

EPOCHS = {"a": 1, "b": 1}


class Scene:
    def __init__(self) -> None:
        self.planes = Planes()
        self.outcomes = Outcomes()

    def tell(self, plane: str, now: float, **workers: WorkerOutcomes) -> None:
        self.planes.counters(report(identity(plane), outcomes=workers), now)
        self.read(now)

    def read(self, now: float, epochs: dict[str, int] = EPOCHS) -> None:
        self.outcomes.read(self.planes.present(), epochs, now)


def sums(succeeded: int, failed: int = 0, *, epoch: int = 1, answers: int | None = None) -> WorkerOutcomes:
    return WorkerOutcomes(epoch, succeeded if answers is None else answers, succeeded, failed, succeeded, succeeded / 2)


def test_what_planes_tell_is_summed_from_their_first_report_on() -> None:
    scene = Scene()
    scene.tell("p", 1.0, a=sums(1000, 500))
    scene.tell("q", 1.0)
    scene.tell("p", 2.0, a=sums(1010, 501))
    scene.tell("q", 2.0, a=sums(5), b=sums(7))
    scene.read(3.0)
    assert scene.outcomes.samples() == {"a": Sample("a", 15, 1, 15, 7.5), "b": Sample("b", 7, 0, 7, 3.5)}
    assert scene.outcomes.samples() == {}
    scene.tell("p", 4.0, a=sums(1011, 501))
    assert scene.outcomes.samples() == {"a": Sample("a", 1, 0, 1, 0.5)}


def test_other_lives_do_not_count() -> None:
    scene = Scene()
    scene.tell("p", 1.0, a=sums(10))
    scene.tell("p", 2.0, a=sums(20))
    scene.planes.counters(report(identity("p"), outcomes={"a": sums(3, epoch=2)}), 3.0)
    scene.read(3.0)
    # The table has a newer life than the plane tells of, or an older one.
    assert scene.outcomes.samples() == {"a": Sample("a", 10, 0, 10, 5.0)}
    scene.planes.counters(report(identity("p"), outcomes={"a": sums(4, epoch=2)}), 4.0)
    scene.read(4.0, {"a": 2})
    assert scene.outcomes.samples() == {"a": Sample("a", 1, 0, 1, 0.5)}


def test_a_plane_may_learn_of_a_life_later_than_the_one_before_it_ended() -> None:
    scene = Scene()
    scene.tell("p", 1.0, a=sums(10))
    scene.planes.counters(report(identity("p"), outcomes={"a": sums(3, epoch=2)}), 2.0)
    scene.read(2.0, {"a": 2})
    assert scene.outcomes.samples() == {"a": Sample("a", 3, 0, 3, 1.5)}


def test_when_a_worker_last_answered() -> None:
    scene = Scene()
    assert scene.outcomes.answered("a") == -inf
    scene.tell("p", 1.0, a=sums(10))
    assert scene.outcomes.answered("a") == -inf
    scene.tell("p", 2.0, a=sums(10, answers=11))
    scene.tell("p", 3.0, a=sums(10, 5, answers=11))
    assert scene.outcomes.answered("a") == 2.0
    # The end of a long answer is a sign of life, too.
    scene.tell("p", 4.0, a=sums(11, 5, answers=11))
    assert scene.outcomes.answered("a") == 4.0
    scene.read(5.0, {})
    assert scene.outcomes.answered("a") == -inf
