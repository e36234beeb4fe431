"""Dividing a limit: never more than there is, nobody starves, needs first, then equal shares."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.admission.division import FLOOR, divide, max_min, needed, proportional

amounts = st.integers(0, 1000)
by_tenant = st.dictionaries(st.sampled_from(("", "a", "b", "c")), st.integers(0, 400))
needs = st.lists(st.lists(by_tenant, max_size=2), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(amounts, needs, st.data())
def test_parts_are_never_more_than_there_is_and_nobody_starves(
    amount: int, needs: list[list[dict[str, int]]], data: st.DataObject
) -> None:
    hungriest = data.draw(st.lists(st.integers(0, len(needs) - 1), unique=True))
    parts = divide(amount, needs, amount // len(needs), hungriest)
    wanted = [needed(need) for need in needs]
    assert sum(parts) <= amount
    assert min(parts) >= 0
    if sum(wanted) >= amount:
        assert sum(parts) == amount
    order = [index for index in hungriest if wanted[index]]
    order += [index for index, need in enumerate(wanted) if need and index not in order]
    assert all(parts[index] for index in order[:amount])


def test_what_is_needed_comes_first_then_a_quarter_more_then_equal_shares() -> None:
    assert divide(100, [[{"": 60}], []], 50) == [76, 24]
    assert divide(100, [[{"": 10}], []], 50) == [50, 50]
    assert divide(100, [[], []], 25) == [25, 25]


def test_a_plane_that_needs_nothing_keeps_a_little_of_a_large_limit() -> None:
    fair = 400 // 4
    assert divide(400, [[{"": 1000}], [], [], []], fair) == [400 - 3 * (fair // FLOOR), *[fair // FLOOR] * 3]
    assert divide(8, [[{"": 1000}], [], [], []], 2) == [8, 0, 0, 0]


def test_planes_share_by_what_waits_there_so_that_every_request_waits_alike() -> None:
    assert divide(50, [[{"": 10}], [{"": 90}]], 25) == [5, 45]


def test_a_tenant_with_ten_times_the_requests_gets_no_more_than_the_other() -> None:
    one, other = {"flood": 500}, {"flood": 500, "quiet": 50}
    assert divide(100, [[one], [other]], 50) == [25, 75]


def test_the_hungriest_get_one_each_where_there_is_not_one_for_all() -> None:
    assert divide(1, [[{"": 5}]] * 3, 0, [2]) == [0, 0, 1]
    assert divide(2, [[{"": 5}]] * 3, 0, [1, 2]) == [0, 1, 1]


def test_max_min_gives_what_is_wanted_or_an_equal_share() -> None:
    assert max_min(10, [2, 20, 20]) == [2, 4, 4]
    assert max_min(11, [2, 20, 20]) == [2, 4, 5]
    assert max_min(10, [1, 2, 3]) == [1, 2, 3]


def test_proportional_parts_make_up_the_whole() -> None:
    assert proportional(10, [1, 1, 1]) == [4, 3, 3]
    assert proportional(5, [0, 0]) == [0, 0]


def test_batch_gets_what_others_leave_whatever_plane_it_came_to() -> None:
    chat, batch = {"chat": 30}, {"batch": 500}
    assert divide(100, [[{}, batch], [chat]], 50) == [70, 30]
    assert divide(100, [[{}, batch], [{"chat": 300}]], 50)[0] <= 50 // FLOOR
