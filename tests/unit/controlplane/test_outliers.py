"""Who is an outlier of its pool, and who only differs a little."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.outliers import LEAST_GAP, OutlierRules, Sample, outliers

RULES = OutlierRules()
SLOW = OutlierRules(latency_factor=3.0)


def pool(*rates: float, requests: int = 100) -> list[Sample]:
    return [
        Sample(f"w{number}", succeeded=round(rate * requests), failed=requests - round(rate * requests))
        for number, rate in enumerate(rates)
    ]


def streams(*seconds: float, count: int = 100) -> list[Sample]:
    return [
        Sample(f"w{number}", succeeded=count, streams=count, first_byte_seconds=second * count)
        for number, second in enumerate(seconds)
    ]


def found(samples: list[Sample], rules: OutlierRules = RULES) -> list[str]:
    return [one.worker for one in outliers(samples, rules)]


def test_one_that_fails_beside_others_that_do_not() -> None:
    (outlier,) = outliers(pool(1, 1, 0.7, 1, 1), RULES)
    assert (outlier.worker, outlier.cause) == ("w2", "success-rate")
    assert outlier.reason == "70% of its requests succeed, of its pool's 94%"


def test_of_fewer_than_five_none_is_one() -> None:
    assert found(pool(1, 1, 0.0, 1)) == []
    # The rule says so itself: the factor can not be reached.
    assert found(pool(1, 1, 0.0, 1), RULES._replace(minimum_workers=2)) == []
    assert found(pool(1, 1, 0.0, 1, 1)) == ["w2"]


def test_who_had_few_requests_is_not_compared() -> None:
    few = Sample("w2", failed=49)
    assert found([*pool(1, 1), few, *pool(1, 1)]) == []
    assert found([*pool(1, 1), few, *pool(1, 1, 1)]) == []


def test_a_small_difference_is_none_however_equal_the_others_are() -> None:
    assert found(pool(1, 1, 1, 1, 1, 0.98)) == []
    assert found(pool(*[1.0] * 99, 1 - LEAST_GAP + 0.01)) == []


def test_if_all_fail_alike_nobody_is_worse() -> None:
    assert found(pool(0.1, 0.1, 0.1, 0.1, 0.1)) == []
    assert found(pool(0, 0, 0, 0, 0)) == []


def test_latency_is_not_looked_at_unless_asked_for() -> None:
    assert found(streams(0.1, 0.1, 0.1, 0.1, 60)) == []
    (outlier,) = outliers(streams(0.1, 0.1, 0.1, 0.1, 60), SLOW)
    assert (outlier.worker, outlier.cause) == ("w4", "latency")
    assert outlier.reason == "first byte after 60 s, its pool's after 0.1 s"


def test_latency_must_differ_by_a_factor_and_by_a_time() -> None:
    assert found(streams(0.01, 0.01, 0.01, 0.01, 0.9), SLOW) == []
    assert found(streams(2, 2, 2, 2, 5.9), SLOW) == []
    assert found(streams(2, 2, 2, 2, 6.1), SLOW) == ["w4"]


def test_answers_that_are_not_streamed_say_nothing_of_latency() -> None:
    late = Sample("w4", succeeded=100, streams=10, first_byte_seconds=1000)
    assert found([*streams(0.1, 0.1, 0.1, 0.1, 0.1), late], SLOW) == []


def test_the_worst_come_first_and_nobody_twice() -> None:
    samples = [
        *streams(0.1, 0.1, 0.1, 0.1, 5, 9, 0.1, 0.1, 0.1, 0.1),
        Sample("both", 50, 50, 50, 1000.0),
    ]
    assert found(samples, SLOW) == ["both", "w5", "w4"]


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=12), st.sampled_from((RULES, SLOW)))
def test_never_the_best_and_never_most(counts: list[tuple[int, int]], rules: OutlierRules) -> None:
    samples = [Sample(f"w{n}", good, bad, good, good * 0.1 * n) for n, (good, bad) in enumerate(counts)]
    names = [one.worker for one in outliers(samples, rules) if one.cause == "success-rate"]
    assert len(set(names)) == len(names)
    assert len(names) <= len(samples) // 2
    rates = {one.worker: one.succeeded / (one.succeeded + one.failed) for one in samples if one.succeeded + one.failed}
    if names:
        assert max(rates, key=rates.__getitem__) not in names
