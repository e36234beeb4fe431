"""Dividing a limit: never more than there is, nobody starves, needs first, then equal shares."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.admission.division import FLOOR, divide, max_min, meant, needed, proportional

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


weights = st.dictionaries(st.sampled_from(("", "a", "b", "c")), st.integers(1, 1000))


@settings(max_examples=200, deadline=None)
@given(amounts, st.lists(st.tuples(st.integers(0, 400), st.integers(1, 1000)), max_size=6))
def test_shares_by_weight_give_out_all_that_is_wanted_and_nobody_more_than_it_wants(
    amount: int, each: list[tuple[int, int]]
) -> None:
    wanted, weighing = [want for want, _ in each], [weight for _, weight in each]
    given = max_min(amount, wanted, weighing)
    assert sum(given) == min(amount, sum(wanted))
    assert all(0 <= got <= want for got, want in zip(given, wanted, strict=True))
    for got, want, weight in zip(given, wanted, weighing, strict=True):
        # Nobody who wants more has less by weight than another one, but for what rounding costs.
        if got < want:
            lost = 2 * len(each)
            assert all(got + lost >= (other - lost) * weight / by for other, by in zip(given, weighing, strict=True))


@settings(max_examples=200, deadline=None)
@given(amounts, needs, weights)
def test_what_is_meant_for_tenants_is_at_least_what_they_are_given(
    amount: int, needs: list[list[dict[str, int]]], weights: dict[str, int]
) -> None:
    parts = meant(amount, needs, weights)
    assert len(parts) == len(needs)
    if sum(map(needed, needs)) <= amount:
        assert not any(parts)
    for part, need in zip(parts, needs, strict=True):
        assert any(part.keys() <= of_class.keys() for of_class in (*need, {}))
    divided = divide(amount, needs, amount // len(needs), (), weights)
    assert sum(divided) <= amount
    if any(parts) and all(len(need) < 2 for need in needs):
        assert sum(sum(part.values()) for part in parts) >= amount - len(needs)


def test_weights_divide_what_does_not_suffice() -> None:
    one, other = {"a": 500}, {"b": 500}
    assert divide(100, [[one], [other]], 50, (), {"a": 3}) == [75, 25]
    assert meant(100, [[one], [other]], {"a": 3}) == [{"a": 75}, {"b": 25}]
    # What it does not need others have.
    assert divide(100, [[{"a": 20}], [other]], 50, (), {"a": 3}) == [20, 80]


def test_a_tenant_that_needs_less_than_its_share_is_meant_to_have_all_of_it() -> None:
    needs = [[{"quiet": 6, "flood": 50}], [{"quiet": 2, "flood": 50}]]
    assert meant(20, needs) == [{"quiet": 9, "flood": 6}, {"quiet": 3, "flood": 6}]
    assert meant(20, [[{"quiet": 6}], [{"flood": 14}]]) == [{}, {}]
    assert meant(20, [[{"alone": 60}]]) == [{}]
    # Batch has what is left.
    assert meant(20, [[{"chat": 4}, {"a": 60, "b": 60}]]) == [{"a": 8, "b": 8}]


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
