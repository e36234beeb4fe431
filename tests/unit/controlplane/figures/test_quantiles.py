import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.figures.quantiles import quantile, quantiles

BOUNDS = (0.1, 0.2, 0.4)


def test_within_a_bucket_times_are_taken_as_spread_evenly() -> None:
    assert quantile(0.5, (0, 4, 0, 0), BOUNDS) == 0.15
    assert quantile(0.5, (2, 0, 2, 0), BOUNDS) == 0.1
    assert quantile(1.0, (2, 0, 2, 0), BOUNDS) == 0.4


def test_above_the_last_bound_nothing_is_known_but_that_bound() -> None:
    told = quantiles((0, 0, 0, 3), 30.0, BOUNDS)
    assert told is not None
    assert (told.p50, told.p99, told.mean, told.count) == (0.4, 0.4, 10.0, 3)


def test_nothing_has_no_quantiles() -> None:
    assert quantiles((0, 0, 0, 0), 0.0, BOUNDS) is None


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any))
def test_they_are_in_their_order_and_within_the_bounds(counts: list[int]) -> None:
    told = quantiles(counts, 1.0, BOUNDS)
    assert told is not None
    assert 0 <= told.p50 <= told.p95 <= told.p99 <= 0.4


@pytest.mark.parametrize("part", [0.01, 0.5, 1.0])
def test_one_time_is_in_its_bucket(part: float) -> None:
    assert 0.2 < quantile(part, (0, 0, 1, 0), BOUNDS) <= 0.4
