"""What is said of log files that can not be written."""

from __future__ import annotations

from shared.log_losses import SPACING, Losses


def test_a_failure_and_its_end_are_said_once_with_how_much_was_lost() -> None:
    losses = Losses()
    assert losses.written() == ""
    assert losses.failed(3, "No space left on device", 10.0) == (
        "can not be written: No space left on device; 3 lines are missing there so far, stderr has them"
    )
    assert losses.failed(4, "No space left on device", 10.0 + SPACING - 1) == ""
    assert losses.written() == "are written again; 7 lines are missing there since the start"
    assert losses.written() == ""


def test_it_is_said_again_while_it_lasts_and_not_at_each_turn_of_a_disk_that_has_a_little_room() -> None:
    losses = Losses()
    said = [losses.failed(1, "full", float(second)) or losses.written() for second in range(181)]
    assert [second for second, one in enumerate(said) if "can not" in one] == [0, 60, 120, 180]
    turns = [(losses.failed(1, "full", 200.0 + turn), losses.written()) for turn in range(30)]
    assert sum(bool(text) for both in turns for text in both) <= 2
