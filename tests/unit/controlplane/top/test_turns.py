"""Keys as a machine."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.top.snapshot import Snapshot
from controlplane.top.turns import MAX_FILTER, PAGE, Turn, pressed
from controlplane.top.view import ORDERS, View, Wish, shown
from tests.unit.controlplane.top.snapshots import fleet, large, snapshot, worker

KEYS = [
    *"qjkdusSrpyYnhx/?é",
    "up",
    "down",
    "page up",
    "page down",
    "home",
    "end",
    "enter",
    "escape",
    "backspace",
    "unknown",
]


def play(keys: list[str], view: View | None = None, of: Snapshot | None = None) -> Turn:
    turn = Turn(view or View())
    for key in keys:
        turn = pressed(turn.view, key, of or fleet())
    return turn


def test_a_drain_is_wished_for_once_it_is_confirmed() -> None:
    asked = play(["down", "d"])
    assert (asked.view.mode, asked.wish) == ("confirm", None)
    done = pressed(asked.view, "y", fleet())
    assert done.wish == Wish("drain", "http://10.0.0.2:8000")
    assert (done.view.mode, done.view.asked) == ("list", None)
    for key in ("n", "escape", "enter", "d", "q", " "):
        refused = pressed(asked.view, key, fleet())
        assert (refused.wish, refused.view.asked, refused.is_over) == (None, None, False)
        assert refused.view.message == "nothing was changed"


def test_it_is_the_worker_that_was_asked_about_whatever_moves_meanwhile() -> None:
    busy = snapshot(worker(1), worker(2), worker(3))
    asked = pressed(View(order="load"), "u", busy)
    assert asked.view.asked == Wish("undrain", "http://10.0.0.3:8000")
    other = snapshot(worker(1), worker(2), worker(3, load=None, inflight=0))
    assert pressed(asked.view, "y", other).wish == Wish("undrain", "http://10.0.0.3:8000")


def test_the_chosen_worker_stays_chosen_in_another_order() -> None:
    view = play(["end", "s", "r"]).view
    assert view.chosen == "http://10.0.0.6:8000"
    assert (view.order, view.is_reversed) == ("load", True)


def test_all_orders_come_by_turns_and_back() -> None:
    assert play(["s"] * len(ORDERS)).view == View()
    assert play(["S", "s"]).view == View()


def test_a_filter_takes_letters_that_are_orders_elsewhere() -> None:
    typed = play([*"/qdx", "backspace", *"é", "unknown", "up"])
    assert (typed.view.filter, typed.is_over, typed.wish) == ("qdé", False, None)
    assert play(["enter"], typed.view).view == View(filter="qdé")
    assert play(["escape"], typed.view).view == View()
    assert play(["enter", "escape"], typed.view).view == View()
    assert len(play(["/", *("x" * 100)]).view.filter) == MAX_FILTER


def test_what_is_listed() -> None:
    ids = [one.id[-6] for one in shown(fleet(), View(filter="DECODE"))]
    assert ids == ["3", "4", "5", "6"]
    assert [one.id[-6] for one in shown(fleet(), View(filter="brk"))] == ["4"]
    assert [one.id[-6] for one in shown(fleet(), View(order="load"))] == ["2", "1", "6", "5", "4", "3"]
    assert [one.id[-6] for one in shown(fleet(), View(is_reversed=True))] == ["2", "1", "6", "5", "4", "3"]
    assert [one.id[-6] for one in shown(fleet(), View(order="state"))] == ["1", "2", "4", "5", "3", "6"]
    assert [one.id[-6] for one in shown(fleet(), View(order="first"))] == ["2", "1", "6", "5", "3", "4"]


def test_steps_and_pages_end_at_the_ends() -> None:
    of = large(30)
    assert play(["up"], of=of).view.chosen == "http://10.0.0.0:8000"
    assert play(["page down", "k"], of=of).view.chosen == f"http://10.0.0.{PAGE - 1}:8000"
    assert play(["page down"] * 9, of=of).view.chosen == "http://10.0.0.29:8000"
    assert play(["end", "home", "j"], of=of).view.chosen == "http://10.0.0.1:8000"


def test_nothing_to_choose() -> None:
    assert play(["d"], of=snapshot()).view == View()
    assert pressed(View(), "d", None) == Turn(View())
    assert pressed(View(), "q", None).is_over


def test_any_key_leaves_the_help() -> None:
    assert play(["?", "d"]).view == View()
    assert play(["h", "q"]).is_over
    assert play(["/", "ctrl-c"]).is_over


class Keys(RuleBasedStateMachine):
    """A change is never wished for but right after its question, and about what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = Turn(View())
        self.fleet = fleet()

    @rule(key=st.sampled_from(KEYS))
    def press(self, key: str) -> None:
        before = self.turn.view
        self.turn = pressed(before, key, self.fleet)
        if self.turn.wish is not None:
            assert before.mode == "confirm"
            assert self.turn.wish == before.asked
            assert key in ("y", "Y")

    @rule(count=st.integers(0, 6))
    def see(self, count: int) -> None:
        self.fleet = snapshot(*fleet().status.workers[:count])

    @invariant()
    def is_sound(self) -> None:
        view = self.turn.view
        assert (view.mode == "confirm") == (view.asked is not None)
        assert view.order in ORDERS


TestKeys = Keys.TestCase
TestKeys.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@given(st.lists(st.sampled_from(KEYS), max_size=30))
@settings(max_examples=50, deadline=None)
def test_keys_before_the_router_was_seen_change_nothing_of_the_fleet(keys: list[str]) -> None:
    view = View()
    for key in keys:
        turn = pressed(view, key, None)
        assert turn.wish is None
        view = turn.view
