"""A plane's breakers: its own evidence, the table's lead, and who is left to choose from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.breaker import Breakers, in_use
from shared.breaker import BreakerRules
from shared.table import Breaker

RULES = BreakerRules(failure_threshold=3, success_threshold=1, timeout=10.0)


def led(table: Breaker | None = None, *, epoch: int = 1) -> Breakers[str]:
    breakers: Breakers[str] = Breakers("me")
    breakers.lead({"a": table, "b": None}, RULES, epoch, 0.0)
    return breakers


def trip(breakers: Breakers[str], worker: str = "a", now: float = 0.0) -> None:
    assert [breakers.failed(worker, number, now).tripped for number in (1, 2, 3)] == [False, False, True]


def test_own_failures_open_it_at_once_and_are_told_until_then() -> None:
    breakers = led()
    trip(breakers)
    assert set(breakers.out()) == {"a"}
    after = breakers.failed("a", 4, 0.0)
    assert (after.counted, after.tripped) == (False, False)


def test_requests_that_went_well_count_against_the_failures() -> None:
    breakers = led()
    for number in range(1, 100):
        blame = breakers.failed("a", number * 20, 0.0)
        assert blame.requests == 20
        assert not blame.tripped


def test_what_the_table_says_is_followed_when_it_changes() -> None:
    breakers = led(Breaker(state="open", since=5.0))
    assert breakers.out() == {"a": 5.0}
    breakers.lead({"a": None}, RULES, 1, 1.0)
    assert breakers.out() == {}
    trip(breakers, now=1.0)
    breakers.lead({"a": None}, RULES, 1, 2.0)
    assert set(breakers.out()) == {"a"}
    # A control plane that has just begun has heard of nothing.
    breakers.lead({"a": None}, RULES, 2, 3.0)
    assert set(breakers.out()) == {"a"}


def test_while_the_table_leads_time_changes_nothing() -> None:
    breakers = led(Breaker(state="open"))
    assert not breakers.tick(100.0, alone=False)
    assert breakers.recovering() == ()


def test_one_asks_once_and_probes_when_it_is_named() -> None:
    breakers = led(Breaker(state="half-open"))
    assert breakers.recovering() == ("a",)
    assert breakers.probe("a", 1.0, alone=False) == "wanted"
    assert breakers.probe("a", 1.0, alone=False) is None
    breakers.lead({"a": Breaker(state="half-open", plane="me")}, RULES, 1, 2.0)
    assert breakers.probe("a", 2.0, alone=False) == "sent"
    assert breakers.probe("a", 2.0, alone=False) is None
    breakers.probed("a", "no-verdict", 3.0)
    assert breakers.probe("a", 3.0, alone=False) == "sent"
    breakers.probed("a", "passed", 4.0)
    assert breakers.out() == {}


def test_anothers_probe_is_none_of_ours() -> None:
    breakers = led(Breaker(state="half-open", plane="other"))
    assert breakers.recovering() == ()
    assert breakers.probe("a", 1.0, alone=False) is None
    assert set(breakers.out()) == {"a"}


def test_without_a_control_plane_it_recovers_by_itself() -> None:
    breakers = led(Breaker(state="open"))
    assert breakers.tick(10.0, alone=True)
    assert breakers.recovering() == ("a",)
    assert breakers.probe("a", 10.0, alone=True) == "sent"
    assert breakers.probe("a", 10.0, alone=True) is None
    breakers.probed("a", "failed", 11.0)
    assert not breakers.tick(20.9, alone=True)
    assert breakers.tick(21.0, alone=True)
    assert breakers.probe("a", 21.0, alone=True) == "sent"
    breakers.probed("a", "passed", 22.0)
    assert breakers.out() == {}


def test_what_it_opened_unheard_recovers_by_itself_too() -> None:
    breakers = led()
    trip(breakers)
    assert breakers.tick(10.0, alone=False)
    assert breakers.probe("a", 10.0, alone=False) == "sent"


def test_switched_off_it_does_nothing() -> None:
    breakers = led(Breaker(state="open"))
    breakers.lead({"a": Breaker(state="open")}, None, 1, 0.0)
    assert breakers.out() == {}
    assert not any(breakers.failed("a", number, 0.0).tripped for number in range(1, 100))


def test_workers_that_are_gone_are_forgotten() -> None:
    breakers = led()
    trip(breakers)
    breakers.lead({"b": None}, RULES, 1, 1.0)
    assert breakers.out() == {}


def test_never_more_than_the_percentage_is_out() -> None:
    assert in_use(("a", "b", "c", "d"), {"c": 1.0}, 50) == ("a", "b", "d")
    assert in_use(("a", "b", "c", "d"), {"c": 3.0, "a": 1.0, "b": 2.0}, 50) == ("c", "d")
    assert in_use(("a",), {"a": 1.0}, 50) == ("a",)
    assert in_use(("a", "b", "c"), {"a": 1.0}, 0) == ("a", "b", "c")


def test_if_all_are_out_all_are_used() -> None:
    assert in_use(("a", "b"), {"a": 1.0, "b": 2.0}, 100) == ("a", "b")


@given(st.sets(st.integers(0, 30)), st.dictionaries(st.integers(0, 30), st.floats(0, 10)), st.integers(0, 100))
def test_in_every_pool(workers: set[int], out: dict[int, float], percent: int) -> None:
    pool = tuple(sorted(workers))
    used = in_use(pool, out, percent)
    assert bool(used) == bool(pool)
    assert used == tuple(worker for worker in pool if worker in used)
    assert all(worker in out for worker in pool if worker not in used)
    assert len(pool) - len(used) <= len(pool) * percent / 100
