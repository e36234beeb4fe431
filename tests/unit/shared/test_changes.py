"""What a message tells that builds upon an earlier one."""

from __future__ import annotations

from shared.changes import Changes


def test_what_changed_since_a_message_is_told_and_nothing_else() -> None:
    changes: Changes[int] = Changes()
    assert changes.put("a", 1, 1)
    assert changes.put("b", 1, 2)
    assert not changes.put("a", 1, 3)
    assert changes.put("a", 2, 4)
    assert changes.since(0) == {"a": 2, "b": 1}
    assert changes.since(2) == {"a": 2}
    assert changes.since(4) == {}


def test_what_was_taken_in_can_be_forgotten() -> None:
    changes: Changes[int] = Changes()
    changes.put("a", 1, 3)
    assert not changes.forget("a", 2)
    assert "a" in changes
    assert len(changes) == 1
    assert changes.forget("a", 3)
    assert (list(changes), len(changes), changes.get("a")) == ([], 0, None)
    assert not changes.forget("a", 3)
