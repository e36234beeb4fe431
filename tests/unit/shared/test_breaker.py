"""The breaker's machine: what opens it, what closes it, and that one plane probes at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.breaker import (
    HOLDER_PATIENCE,
    LEAST_SHARE,
    BreakerRules,
    Circuit,
    Closed,
    HalfOpen,
    Open,
    ProbeNewsKind,
    due,
    failed,
    probed,
    tick,
)
from shared.table import Settings

RULES = BreakerRules(failure_threshold=4, success_threshold=2, timeout=10.0, window=30.0)
PLANES = ("p", "q", "r")


def after(failures: int, *, requests: int = 1, apart: float = 0.1, rules: BreakerRules = RULES) -> Circuit:
    circuit: Circuit = Closed()
    for number in range(failures):
        circuit = failed(circuit, rules, number * apart, requests=requests)
    return circuit


def test_it_opens_at_the_threshold() -> None:
    assert isinstance(after(3), Closed)
    assert after(4) == Open(3 * 0.1)


def test_every_second_request_failing_opens_it_at_the_threshold() -> None:
    assert isinstance(after(4, requests=2), Open)


def test_a_worker_that_mostly_works_stays_in() -> None:
    assert isinstance(after(1000, requests=2 * LEAST_SHARE), Closed)


def test_failures_far_apart_stay_in() -> None:
    assert isinstance(after(100, apart=RULES.window), Closed)


def test_good_requests_of_long_ago_do_not_protect() -> None:
    circuit = failed(Closed(), RULES, 0.0, requests=1_000_000)
    for number in range(1, 4):
        circuit = failed(circuit, RULES, float(number))
    assert isinstance(circuit, Open)


def test_who_has_opened_is_followed_at_once() -> None:
    assert failed(Closed(), RULES, 5.0, tripped=True) == Open(5.0)


def test_after_the_timeout_who_asks_first_may_probe() -> None:
    circuit: Circuit = Open(0.0)
    assert tick(circuit, RULES, 9.9, PLANES) == circuit
    circuit = tick(circuit, RULES, 10.0, PLANES)
    assert circuit == HalfOpen(10.0)
    assert due(circuit, RULES) is None
    circuit = probed(circuit, RULES, "wanted", "p", 11.0)
    assert circuit == HalfOpen(11.0, "p")
    assert probed(circuit, RULES, "wanted", "q", 11.0) == circuit
    for news in ("sent", "passed", "failed"):
        assert probed(circuit, RULES, news, "q", 11.0) == circuit


def test_enough_passed_probes_close_it() -> None:
    circuit = probed(HalfOpen(0.0, "p", sent=True), RULES, "passed", "p", 1.0)
    assert circuit == HalfOpen(1.0, "p", passed=1)
    assert probed(circuit, RULES, "passed", "p", 2.0) == Closed()


def test_a_failed_probe_opens_it() -> None:
    assert probed(HalfOpen(0.0, "p", sent=True, passed=1), RULES, "failed", "p", 3.0) == Open(3.0)


def test_a_probe_without_a_verdict_is_made_again() -> None:
    assert probed(HalfOpen(0.0, "p", sent=True, passed=1), RULES, "no-verdict", "p", 3.0) == HalfOpen(
        3.0, "p", passed=1
    )


def test_a_holder_that_makes_no_use_of_it_loses_it() -> None:
    held = HalfOpen(0.0, "p", passed=1)
    assert tick(held, RULES, HOLDER_PATIENCE - 0.1, PLANES) == held
    assert tick(held, RULES, HOLDER_PATIENCE, PLANES) == HalfOpen(HOLDER_PATIENCE, passed=1)
    sent = HalfOpen(0.0, "p", sent=True)
    assert tick(sent, RULES, RULES.timeout - 0.1, PLANES) == sent
    assert tick(sent, RULES, RULES.timeout, PLANES) == HalfOpen(RULES.timeout)


def test_a_holder_that_died_loses_it_at_once() -> None:
    assert tick(HalfOpen(0.0, "p", sent=True), RULES, 0.1, ("q",)) == HalfOpen(0.1)


def test_it_can_be_switched_off() -> None:
    assert BreakerRules.of(Settings(circuit_breaker=False)) is None
    assert BreakerRules.of(Settings(cb_timeout=5.0)) == BreakerRules(timeout=5.0)


NEWS: list[ProbeNewsKind] = ["wanted", "sent", "passed", "failed", "no-verdict"]
EVENTS = st.one_of(
    st.tuples(st.just("failure"), st.integers(1, 30), st.floats(0.0, 20.0)),
    st.tuples(st.sampled_from(NEWS), st.sampled_from(PLANES), st.floats(0.0, 20.0)),
    st.tuples(st.just("tick"), st.sets(st.sampled_from(PLANES)), st.floats(0.0, 20.0)),
)


@given(st.lists(EVENTS, max_size=60), st.integers(1, 5), st.integers(1, 3))
def test_in_every_history(events: list[tuple[str, object, float]], most: int, enough: int) -> None:
    rules = BreakerRules(most, enough, timeout=10.0, window=30.0)
    circuit: Circuit = Closed()
    now = 0.0
    failures: list[float] = []
    passed = 0
    for name, what, later in events:
        before = circuit
        now += later
        if name == "failure":
            assert isinstance(what, int)
            circuit = failed(before, rules, now, requests=what)
            if isinstance(before, Closed):
                failures.append(now)
        elif name == "tick":
            assert isinstance(what, set)
            circuit = tick(before, rules, now, what)
        else:
            assert isinstance(what, str)
            news: ProbeNewsKind = name  # type: ignore[assignment]
            circuit = probed(before, rules, news, what, now)
        match before, circuit:
            case Closed(), Closed():
                assert len(circuit.failures) <= most
            case Closed(), Open():
                # Never for fewer than the threshold within the window.
                assert len([when for when in failures if when >= now - rules.window]) >= most
            case Closed(), HalfOpen():
                raise AssertionError("a probe of a closed breaker")
            case Open(since), HalfOpen(holder=holder):
                assert now >= since + rules.timeout
                assert not holder
                passed = 0
            case Open(), Closed():
                raise AssertionError("closed without a probe")
            case HalfOpen(holder=old), HalfOpen(holder=new):
                # From hand to hand only over nobody's.
                assert old == new or not old or not new
                passed += name == "passed" and what == old
            case HalfOpen(holder=old), Closed():
                assert (name, what) == ("passed", old)
                assert passed + 1 == enough
                failures = []
            case HalfOpen(holder=old), Open():
                assert (name, what) == ("failed", old)


@given(st.integers(1, 20), st.lists(st.integers(1, LEAST_SHARE - 1), min_size=20, max_size=20))
def test_a_worker_that_fails_often_always_opens_at_the_threshold(threshold: int, gaps: list[int]) -> None:
    rules = BreakerRules(failure_threshold=threshold)
    circuit: Circuit = Closed()
    for number in range(threshold):
        assert isinstance(circuit, Closed)
        circuit = failed(circuit, rules, number * 0.01, requests=gaps[number])
    assert isinstance(circuit, Open)
