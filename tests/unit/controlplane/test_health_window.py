"""Rules about the last checks together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.health import Health, HealthRules, Outcome, forget_checks, judge
from controlplane.health_window import Check, WindowRules, fault

RATE = WindowRules(size=10, min_success_rate=0.8)
TIME = WindowRules(size=4, max_response_time=2.0)
READY = Health(begun=0.0, state="ready", was_ready=True, pause=60.0)


def after(health: Health, looks: str, rules: WindowRules = RATE, took: float = 0.1) -> Health:
    """Look at a worker: "+" is good, "-" failed."""
    for look in looks:
        outcome: Outcome = "ok" if look == "+" else "failed"
        health = judge(health, outcome, HealthRules(window=rules), 1.0, took=took)
    return health


@pytest.mark.parametrize(
    ("size", "rate", "bad", "broken"),
    [
        (10, 0.8, 2, False),
        (10, 0.8, 3, True),
        # Two of three, as people write it.
        (3, 0.67, 1, False),
        (3, 0.67, 2, True),
        (10, 1.0, 1, True),
        (10, 0.9, 1, False),
        (7, 0.0, 7, False),
    ],
)
def test_a_share_of_the_last_checks_must_be_good(size: int, rate: float, bad: int, *, broken: bool) -> None:
    checks = [Check(good=False, seconds=0.0)] * bad
    assert bool(fault(checks, WindowRules(size, rate))) is broken


def test_their_mean_time_must_be_short() -> None:
    slow, quick = Check(good=True, seconds=5.0), Check(good=True, seconds=0.1)
    assert fault([slow], TIME) == ""
    assert fault([slow, slow], TIME) == "the last 4 checks took 2.5 s each, 2 s are allowed"
    assert fault([slow, slow, quick, quick, quick, quick], TIME) == ""


def test_a_worker_that_fails_every_third_check_goes_and_comes_back_when_most_are_good_again() -> None:
    health = after(READY, "+-++-++")
    assert health.state == "ready"
    health = after(health, "-")
    assert (health.state, health.fault) == ("unhealthy", "70% of the last 10 checks were good, 80% are wanted")
    # Three bad ones among the last ten, until the first has left them.
    health = after(health, "+++")
    assert health.state == "unhealthy"
    health = after(health, "++")
    assert (health.state, health.fault) == ("ready", "")


def test_a_slow_one_goes_and_comes_back() -> None:
    health = after(READY, "++", TIME, took=5.0)
    assert health.state == "unhealthy"
    assert after(health, "++", TIME, took=0.1).state == "unhealthy"
    assert after(health, "+++++", TIME, took=0.1).state == "ready"


def test_failures_in_a_row_count_as_before() -> None:
    assert after(READY, "---", RATE._replace(min_success_rate=0.1)).state == "unhealthy"


def test_checks_before_it_was_ready_or_restarted_do_not_count() -> None:
    health = after(Health(begun=0.0), "-----+")
    assert (health.state, health.checks) == ("ready", ())
    bad = after(READY, "--")
    assert after(forget_checks(bad), "+-").state == "ready"
    assert after(bad, "+-").state == "unhealthy"


def test_without_rules_nothing_is_kept() -> None:
    health = after(READY, "+-+-+-+-", WindowRules())
    assert (health.state, health.checks) == ("ready", ())


def test_what_says_nothing_is_not_counted() -> None:
    rules = HealthRules(window=RATE)
    health = READY
    for _ in range(5):
        health = judge(health, "unclear", rules, 1.0, took=5.0, answering=True)
    assert health.checks == ()
    for _ in range(5):
        # Of late ones that suspicions cause, one per half an interval counts.
        health = judge(health, "unclear", rules, 1.0, took=5.0)
    assert len(health.checks) == 1


@given(st.text(alphabet="+-", max_size=40), st.integers(1, 12), st.floats(0.05, 1))
def test_a_worker_that_is_ready_keeps_the_rules(looks: str, size: int, rate: float) -> None:
    rules = WindowRules(size, rate)
    health = READY
    for look in looks:
        health = after(health, look, rules)
        assert len(health.checks) <= size
        assert health.state == "unhealthy" or not fault(health.checks, rules)
    # Enough good ones bring any worker back.
    assert after(health, "+" * (size + 2), rules).state == "ready"


def test_without_checks_a_ready_worker_is_looked_at_when_somebody_asks() -> None:
    rules = HealthRules(periodic=False)
    health = judge(Health(begun=0.0), "refused", rules, 1.0)
    assert health.pause < 1.0
    health = judge(health, "ok", rules, 2.0)
    assert (health.state, health.pause) == ("ready", 86400.0)
    # Once somebody did, it is looked at until that is decided.
    assert judge(health, "refused", rules, 3.0).pause < 1.0
    assert judge(health, "unclear", rules, 3.0).pause == rules.interval
