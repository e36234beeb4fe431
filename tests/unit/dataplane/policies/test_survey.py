"""Surveys: exact for few candidates, a moment old for many."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dataplane.load import Figures
from dataplane.policies.survey import FEW, LIFE, Surveys
from tests.unit.dataplane.policies.tables import busy


@dataclass
class Moving:
    """A worker whose load changes."""

    id: str
    load_now: float = 0.0
    asked: int = 0
    epoch: int = 1
    weight: float = 1.0

    def figures(self) -> Figures:
        return busy(self.load_now)

    def load(self) -> float:
        self.asked += 1
        return self.load_now

    def prefill(self) -> int:
        return 0


def fleet(count: int) -> tuple[Moving, ...]:
    return tuple(Moving(f"w{number}", float(number)) for number in range(count))


def test_few_are_looked_at_each_time() -> None:
    surveys: Surveys[Moving] = Surveys()
    few = fleet(FEW)
    assert surveys.of(few, "m", 0.0).mean == (FEW - 1) / 2
    few[0].load_now = 100.0 * FEW
    assert surveys.of(few, "m", 0.0).mean > 100
    assert surveys.of(few, "m", 0.0).least().id == "w1"


def test_many_are_looked_at_again_after_a_moment() -> None:
    surveys: Surveys[Moving] = Surveys()
    many = fleet(100)
    before = surveys.of(many, "m", 10.0).mean
    for one in many:
        one.load_now += 10
    assert surveys.of(many, "m", 10.0 + LIFE / 2).mean == before
    assert surveys.of(many, "m", 10.0 + LIFE).mean == before + 10
    assert many[99].asked == 2


def test_the_least_loaded_of_many_is_told_by_its_present_load() -> None:
    surveys: Surveys[Moving] = Surveys()
    many = fleet(100)
    survey = surveys.of(many, "m", 0.0)
    for _ in range(15):
        chosen = survey.least()
        chosen.load_now += 1
    assert {one.id for one in many if one.load_now > int(one.id[1:])} == {f"w{number}" for number in range(5)}


def test_equal_ones_have_their_turns() -> None:
    surveys: Surveys[Moving] = Surveys()
    equal = tuple(Moving(f"w{number}") for number in range(4))
    assert set(Counter(surveys.of(equal, "m", 0.0).least().id for _ in range(40)).values()) == {10}


def test_loads_are_per_weight() -> None:
    surveys: Surveys[Moving] = Surveys()
    for count in (2, 40):
        group = fleet(count)
        for one in group:
            one.load_now, one.weight = 6.0, 2.0
        group[1].load_now, group[1].weight = 8.0, 4.0
        survey = surveys.of(group, f"{count}", 0.0)
        assert survey.least().id == "w1"
        assert survey.mean == (6 * (count - 1) + 8) / (2 * (count - 1) + 4)


def test_those_left_out_of_many_need_no_look_of_their_own() -> None:
    surveys: Surveys[Moving] = Surveys()
    many = fleet(100)
    mean = surveys.of(many, "m", 0.0).mean
    some = many[2:]
    assert surveys.of(some, "m", 0.0).mean == mean
    assert surveys.of(some, "m", 0.0).least().id == "w2"
    assert many[99].asked == 1
    assert surveys.of(many[20:], "m", 0.0).least().id == "w20"


def test_nothing_is_asked_of_candidates_that_nobody_wants_to_know_about() -> None:
    surveys: Surveys[Moving] = Surveys()
    many = fleet(50)
    assert surveys.of(many, "m", 0.0).by_id["w7"] is many[7]
    assert not any(one.asked for one in many)


def test_groups_of_candidates_do_not_pile_up() -> None:
    surveys: Surveys[Moving] = Surveys()
    for _ in range(1000):
        group = fleet(2)
        assert surveys.of(group, "m", 0.0).by_id["w1"] is group[1]
    assert len(surveys._surveys) <= 64
    surveys.forget()
    assert not surveys._surveys
