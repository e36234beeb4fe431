"""What may become of a handoff."""

from __future__ import annotations

import pytest

from dataplane.pd.handover import AfterPrefill, after_prefill, may_go_elsewhere, must_renew
from shared.errors import bad_answer, no_worker, unreachable


@pytest.mark.parametrize(
    ("status", "with_fallback", "without"),
    [
        (200, AfterPrefill.DECODE, AfterPrefill.DECODE),
        (400, AfterPrefill.ANSWER, AfterPrefill.ANSWER),
        (404, AfterPrefill.ANSWER, AfterPrefill.ANSWER),
        (429, AfterPrefill.ELSEWHERE, AfterPrefill.ANSWER),
        (500, AfterPrefill.ANSWER, AfterPrefill.ANSWER),
        (503, AfterPrefill.ELSEWHERE, AfterPrefill.ANSWER),
    ],
)
def test_what_follows_a_prefill(status: int, with_fallback: AfterPrefill, without: AfterPrefill) -> None:
    assert after_prefill(status, may_fall_back=True) is with_fallback
    assert after_prefill(status, may_fall_back=False) is without


def test_a_handoff_serves_once_and_not_for_ever() -> None:
    assert not must_renew(is_sent=False, age=0, lease=20)
    assert must_renew(is_sent=True, age=0, lease=20)
    assert must_renew(is_sent=False, age=21, lease=20)


def test_what_may_be_done_elsewhere() -> None:
    for error in (unreachable(1), no_worker("x")):
        assert may_go_elsewhere(error, fallback=True, silent=1)
        assert not may_go_elsewhere(error, fallback=False, silent=0)
        assert not may_go_elsewhere(error, fallback=True, silent=2)
    assert not may_go_elsewhere(bad_answer("x"), fallback=True, silent=0)
