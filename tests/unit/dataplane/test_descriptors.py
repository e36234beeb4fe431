"""A plane's file descriptors: each side gets its share, and a plane never has more open than it may."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.descriptors import Allowance, share_out


@given(st.integers(min_value=128, max_value=1 << 20))
def test_both_sides_and_the_plane_itself_fit_together(descriptors: int) -> None:
    shares = share_out(descriptors)
    assert shares.workers >= 1
    # Some clients more than connections for them: those are told that there is none.
    assert shares.workers < shares.clients <= shares.workers * 1.2 + 2
    assert descriptors - sum(shares) >= 64


def test_the_shares_of_a_usual_limit() -> None:
    assert share_out(1024) == (408, 360)
    assert share_out(20_000) == (10489, 9255)


def test_an_allowance_is_used_up_and_given_back() -> None:
    allowance: Allowance[str] = Allowance(2, lambda: False)
    allowance.take("a")
    allowance.take("b")
    with pytest.raises(OSError) as caught:
        allowance.take("c")
    assert caught.value.errno == errno.EMFILE
    allowance.give_back("a")
    allowance.give_back("a")
    assert allowance.taken == 1
    allowance.take("c")


def test_an_idle_connection_makes_room() -> None:
    allowance: Allowance[str] = Allowance(1, lambda: True)
    allowance.take("a")
    # "a" is being closed; it is given back when it is.
    allowance.take("b")
    allowance.give_back("a")
    assert allowance.taken == 1
