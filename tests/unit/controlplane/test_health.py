import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.health import Health, HealthRules, Outcome, judge, suspect

RULES = HealthRules()
READY = Health(begun=0.0, state="ready", was_ready=True, pause=60.0)
OUTCOMES: tuple[Outcome, ...] = ("ok", "refused", "failed", "unclear")


def after(health: Health, *outcomes: Outcome, rules: HealthRules = RULES, now: float = 1.0) -> Health:
    for outcome in outcomes:
        health = judge(health, outcome, rules, now)
    return health


def test_a_new_worker_is_ready_at_its_first_success() -> None:
    assert after(Health(begun=0.0), "ok") == READY


def test_looks_at_a_starting_worker_begin_quick_and_slow_down_to_the_longest_pause() -> None:
    health, pauses = Health(begun=0.0), []
    for _ in range(11):
        health = after(health, "refused")
        pauses.append(health.pause)
    assert health.state == "starting"
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-2:] == [30.0, 30.0]


def test_a_worker_that_never_starts_is_unhealthy_after_its_time_and_ready_at_its_first_success() -> None:
    health = after(Health(begun=0.0), "refused", now=600.0)
    assert health.state == "unhealthy"
    assert after(health, "ok").state == "ready"


def test_a_refusing_worker_is_unhealthy_within_a_second() -> None:
    health, passed = READY, 0.0
    while health.state == "ready":
        health = after(health, "refused")
        passed += health.pause if health.state == "ready" else 0
    assert passed <= 1.0


def test_a_slow_worker_keeps_its_pace_and_is_unhealthy_only_at_the_threshold() -> None:
    once = after(READY, "unclear", now=0.0)
    assert (once.state, once.pause) == ("ready", 60.0)
    twice = after(once, "unclear", now=60.0)
    assert twice.state == "ready"
    assert after(twice, "ok", now=120.0) == READY
    assert after(twice, "unclear", now=120.0).state == "unhealthy"


def test_evidence_does_not_hurry_the_end_of_a_worker_that_is_only_slow() -> None:
    health, now = READY, 0.0
    # One look each 0.25 s, as evidence without end causes them: a name server away for a while, a long prefill.
    while now < 55.0:
        health = after(suspect(health), "unclear", now=now)
        assert health.state == "ready"
        now += 0.25
    assert after(health, "ok", now=now) == READY
    # What is clear decides as before.
    assert after(health, "refused", now=now).state == "unhealthy"


def test_a_suspected_worker_is_looked_at_quickly_until_it_answers() -> None:
    suspected = suspect(READY)
    assert after(suspected, "failed").pause == 0.25
    assert after(suspected, "failed", "ok") == READY


def test_only_a_ready_worker_can_be_suspected() -> None:
    assert suspect(Health(begun=0.0)) == Health(begun=0.0)
    unhealthy = after(READY, "refused", "refused", "refused")
    assert suspect(unhealthy) == unhealthy


def test_an_unhealthy_worker_needs_the_success_threshold_in_a_row() -> None:
    unhealthy = after(READY, "failed", "failed", "failed")
    assert unhealthy.state == "unhealthy"
    assert after(unhealthy, "ok").state == "unhealthy"
    assert after(unhealthy, "ok", "failed", "ok").state == "unhealthy"
    assert after(unhealthy, "ok", "ok").state == "ready"


def test_an_unhealthy_worker_is_looked_at_every_few_seconds() -> None:
    health, pauses = after(READY, "refused", "refused", "refused"), []
    for _ in range(5):
        pauses.append(health.pause)
        health = after(health, "refused")
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


@given(
    st.lists(st.one_of(st.sampled_from(OUTCOMES), st.just("suspect")), max_size=60),
    st.integers(1, 4),
    st.integers(1, 4),
    st.floats(0.1, 100.0),
)
def test_what_holds_in_every_history(events: list[str], failures: int, successes: int, interval: float) -> None:
    rules = HealthRules(failures, successes, interval, longest_startup_pause=30.0)
    health, row = Health(begun=0.0), 0
    for now, event in enumerate(events):
        before = health
        if event == "suspect":
            health = suspect(health)
            assert health.state == before.state
            continue
        outcome = next(o for o in OUTCOMES if o == event)
        health = judge(health, outcome, rules, float(now))
        assert 0.0 < health.pause <= max(interval, 30.0 if health.state == "starting" else 0.0)
        if outcome != "ok":
            counts = before.state == "ready" and (outcome != "unclear" or now >= before.unclear_until)
            row = row + counts if before.state == "ready" else 0
            assert (health.state == "unhealthy") >= (before.state == "unhealthy")
            if before.state == "ready":
                assert (health.state == "unhealthy") == (row >= failures)
        else:
            row = 0
            assert before.state != "ready" or health.state == "ready"
            assert not health.suspected


def test_a_worker_that_answers_requests_is_not_taken_out_by_late_checks_alone() -> None:
    health = READY
    for number in range(20):
        health = judge(health, "unclear", RULES, 60.0 * number, answering=True)
        assert (health.state, health.failures, health.pause) == ("ready", 0, 60.0)
    # The first check without an answer meanwhile is the first that counts.
    assert judge(health, "unclear", RULES, 1200.0).failures == 1
    hurried = judge(suspect(READY), "unclear", RULES, 0.0, answering=True)
    assert not hurried.suspected


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_what_is_clear_counts_whatever_it_answers(outcome: Outcome) -> None:
    health = READY
    for _ in range(3):
        health = judge(health, outcome, RULES, 1.0, answering=True)
    assert health.state == "unhealthy"


def test_answers_make_nobody_ready() -> None:
    starting = judge(Health(begun=0.0), "unclear", RULES, 1.0, answering=True)
    assert starting.state == "starting"
    unhealthy = after(READY, "refused", "refused", "refused")
    assert judge(unhealthy, "unclear", RULES, 1.0, answering=True).state == "unhealthy"
