"""The line: who is next, against a rule that looks at everybody."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.admission.line import LaneKey, Line

MODELS = ("m", "n", None)
keys = st.builds(
    LaneKey,
    st.integers(0, 1),
    st.sampled_from(("a", "b", "c")),
    st.sampled_from(MODELS),
    st.booleans(),
    st.sampled_from((None, "some workers")),
)


class Lines(RuleBasedStateMachine):
    """A line beside a list of those that wait, in their order of arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.line: Line[int] = Line()
        self.waiting: list[tuple[LaneKey, int]] = []
        self.arrivals = 0

    def order(self, entry: tuple[LaneKey, int]) -> tuple[int, float, int]:
        key, one = entry
        return key.stand, self.line._used.get(key.share, 0.0), one

    def firsts(self) -> list[tuple[LaneKey, int]]:
        found: dict[LaneKey, int] = {}
        for key, one in self.waiting:
            found.setdefault(key, one)
        return list(found.items())

    @rule(key=keys)
    def come(self, key: LaneKey) -> None:
        ahead = sum(other.stand <= key.stand for other, _ in self.waiting)
        assert self.line.position(key) == ahead
        self.arrivals += 1
        self.line.add(key, self.arrivals)
        self.waiting.append((key, self.arrivals))

    @precondition(lambda self: self.waiting)
    @rule(place=st.integers(0, 50))
    def leave(self, place: int) -> None:
        key, one = self.waiting.pop(place % len(self.waiting))
        self.line.remove(key, one)

    @rule(
        shut=st.sets(st.sampled_from(MODELS)),
        odd=st.booleans(),
        weight=st.sampled_from((1.0, 2.0)),
    )
    def go(self, shut: set[str | None], odd: bool, weight: float) -> None:
        """Let the next one go among those whose model is not shut; with `odd` only every second may."""
        can_go = [entry for entry in self.firsts() if entry[0].model not in shut and not (odd and entry[1] % 2)]
        found = self.line.next(lambda one: not (odd and one % 2), lambda model: model not in shut)
        assert found == (min(can_go, key=self.order) if can_go else None)
        if found is not None:
            self.line.went(found[0], weight)
            self.line.remove(*found)
            self.waiting.remove(found)

    @invariant()
    def the_sums_are_right(self) -> None:
        assert len(self.line) == len(self.waiting)
        assert sorted(self.line) == sorted(one for _, one in self.waiting)
        assert dict(self.line.lanes()) == {
            key: sum(other == key for other, _ in self.waiting) for key, _ in self.waiting
        }
        assert dict(self.line.by_model) == {
            model: count for model in MODELS if (count := sum(key.model == model for key, _ in self.waiting))
        }


TestLines = Lines.TestCase
TestLines.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)


def test_those_that_come_and_leave_behind_one_that_stays_leave_nothing() -> None:
    line: Line[int] = Line()
    line.add(LaneKey(0, "stays", "m"), 0)
    for one in range(1, 1000):
        key = LaneKey(1, f"tenant {one}", "m")
        line.add(key, one)
        line.remove(key, one)
    assert len(line._heaps["m"]) < 100
    assert line.next(lambda _: True) == (LaneKey(0, "stays", "m"), 0)


def test_who_is_next_is_found_without_a_look_at_all_lanes() -> None:
    line: Line[int] = Line()
    asked: list[int] = []

    def can_go(one: int) -> bool:
        asked.append(one)
        return True

    for one in range(1000):
        line.add(LaneKey(0, f"tenant {one}", "m"), one)
    for one in range(1000):
        found = line.next(can_go)
        assert found is not None
        assert found[1] == one
        line.went(found[0])
        line.remove(*found)
    assert len(asked) == 1000
    assert line.next(can_go) is None
