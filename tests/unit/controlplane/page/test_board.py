"""What listeners get of the records: that whoever looks whenever ends up with the same."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.page import board as module
from controlplane.page.board import MAX_GONE, Board, Step


def test_nothing_changes_nothing() -> None:
    board = Board()
    board.update({"a": b"1"})
    board.update({"a": b"1"})
    assert board.version == 1
    assert board.since(1) == Step(1, False, {}, ())


def test_what_changed_what_came_and_what_went() -> None:
    board = Board()
    board.update({"a": b"1", "b": b"1"})
    board.update({"a": b"2", "c": b"1"})
    assert board.since(1) == Step(2, False, {"a": b"2", "c": b"1"}, ("b",))
    assert board.since(0) == Step(2, True, {"a": b"2", "c": b"1"}, ())
    board.update({"a": b"2", "b": b"1", "c": b"1"})
    assert board.since(1).gone == ()
    assert board.since(2) == Step(3, False, {"b": b"1"}, ())


def test_who_looked_too_long_ago_gets_everything() -> None:
    board = Board()
    board.update({"a": b"1"})
    for number in range(MAX_GONE + 1):
        board.update({"a": b"1", f"passing {number}": b"1"})
    board.update({"a": b"1"})
    assert not board.since(3).full
    assert board.since(2).full
    assert board.since(2).records == {"a": b"1"}


@given(
    st.lists(
        st.tuples(st.dictionaries(st.sampled_from("abcde"), st.sampled_from([b"1", b"2"])), st.booleans()),
        max_size=12,
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_every_listener_ends_with_the_same(history: list[tuple[dict[str, bytes], bool]]) -> None:
    board, seen, view = Board(), 0, dict[str, bytes]()
    for records, looks in history:
        board.update(records)
        if looks:
            step = board.since(seen)
            seen = step.version
            view = {} if step.full else {key: told for key, told in view.items() if key not in step.gone}
            view.update(step.records)
            assert view == records
    assert len(board._gone) <= module.MAX_GONE
