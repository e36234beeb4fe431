"""Groups by priority: who is offered first, and when the next group has its turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.priority import first_usable, in_groups, rank_of
from shared.table import Worker

POOL = ("a50", "b50", "c10", "d0", "e0")


def rank(name: str) -> tuple[bool, int]:
    return True, int(name[1:])


def test_weight_0_is_behind_every_priority() -> None:
    workers = [
        Worker(id=f"{weight} {priority}", url="http://a", weight=weight, priority=priority)
        for weight in (0, 0.1, 2)
        for priority in (0, 50)
    ]
    ranks = sorted(workers, key=rank_of, reverse=True)
    assert [worker.id for worker in ranks] == ["0.1 50", "2 50", "0.1 0", "2 0", "0 50", "0 0"]


@pytest.mark.parametrize(
    ("out", "percent", "groups"),
    [
        ("", 50, ("a50 b50", "c10", "d0 e0")),
        # One of a group, then all of it: the next has its turn.
        ("a50", 50, ("b50", "c10", "d0 e0")),
        ("a50 b50", 50, ("c10", "d0 e0", "a50 b50")),
        ("a50 b50 c10", 50, ("d0 e0", "a50 b50", "c10")),
        # At most so many of each group are out.
        ("a50", 49, ("a50 b50", "c10", "d0 e0")),
        # Nobody is better: all as if nobody were out.
        ("a50 b50 c10 d0 e0", 50, ("a50 b50", "c10", "d0 e0")),
    ],
)
def test_groups(out: str, percent: int, groups: tuple[str, ...]) -> None:
    found = in_groups(POOL, rank, dict.fromkeys(out.split(), 0.0), percent)
    assert [" ".join(group) for group in found] == list(groups)


def test_one_priority_is_one_group_also_when_it_is_empty() -> None:
    assert in_groups((), rank, {}, 50) == ((),)
    assert in_groups(("a1", "b1"), rank, {"a1": 0.0}, 50) == (("b1",),)


NAMES = st.lists(st.sampled_from(POOL), unique=True).map(tuple)


@given(NAMES, st.sets(st.sampled_from(POOL)), st.integers(0, 100))
def test_nobody_is_lost_but_who_is_out(pool: tuple[str, ...], out: set[str], percent: int) -> None:
    groups = in_groups(pool, rank, dict.fromkeys(out, 0.0), percent)
    offered = [one for group in groups for one in group]
    assert len(offered) == len(set(offered))
    assert set(pool) - out <= set(offered) <= set(pool)
    assert bool(groups[0]) == bool(pool)
    if set(pool) - out:
        best = max(rank(one) for one in set(pool) - out)
        assert {rank(one) for one in groups[0]} == {best}


@pytest.mark.parametrize(
    ("groups", "avoided", "expected"),
    [
        (("ab", "c"), "", "ab"),
        (("ab", "c"), "a", "ab"),
        (("ab", "c"), "ab", "c"),
        (("", "c"), "", "c"),
        (("", "bc", "d"), "bcd", "bc"),
        (("",), "", ""),
    ],
)
def test_the_first_group_with_somebody_who_is_not_avoided(groups: tuple[str, ...], avoided: str, expected: str) -> None:
    assert first_usable(map(tuple, groups), lambda one: one in avoided) == tuple(expected)
