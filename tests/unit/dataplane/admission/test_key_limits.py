"""A key's own limits at the gate: who goes on, who waits for a lease, and who is refused at once."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from dataplane.admission.asking import LEASE_WAIT
from dataplane.admission.estimate import Estimate
from dataplane.admission.gate import Gate
from dataplane.admission.key_limits import Use
from dataplane.admission.line import LaneKey
from dataplane.admission.refused import OverOwn, Refused
from dataplane.admission.ticket import State, Ticket
from shared.client_keys import ClientKey
from shared.leases import SETTLING
from shared.limits import Limit, key_limits_of


class Key(NamedTuple):
    """One key at a gate, and the time there."""

    gate: Gate
    name: str = "a"

    def ask(self, now: float, tokens: int = 0) -> Ticket:
        ticket = Ticket(LaneKey(0, self.name, "m"), 10, now, Use(self.gate.own[self.name], Estimate(tokens, tokens)))
        ticket.state = State.ADMITTED if self.gate.enter(ticket, now) else ticket.state
        return ticket

    def end(self, ticket: Ticket, now: float, spent: int | None = None) -> None:
        assert ticket.use is not None
        ticket.use.is_sent, ticket.use.spent = True, spent
        self.gate.leave(ticket, now)

    def lend(self, now: float, **amounts: int) -> None:
        for what, amount in amounts.items():
            self.gate.quotas[f"key:{self.name}:{what}"].allow(amount, now)


def key_with(open_: int = 0, requests: int = 0, tokens: int = 0, *, part: int = 1, shared: int = 0) -> Key:
    """A key with these limits, of which a plane has the `part`th part."""
    gate = Gate()
    keys = (
        ClientKey(
            name="a", digest=b"", max_concurrent_requests=open_, requests_per_minute=requests, tokens_per_minute=tokens
        ),
        ClientKey(name="other", digest=b"", requests_per_minute=1),
        ClientKey(name="free", digest=b""),
    )
    limits = [*key_limits_of(keys), *([Limit("total", "slots", shared)] if shared else [])]
    gate.use(limits, 1)
    for name, quota in gate.quotas.items():
        quota.allow(quota.limit.amount // (part if name.startswith("key:a") else 1), 0.0)
    gate.is_leased = gate.hears = True
    return Key(gate)


def over(key: Key, now: float, tokens: int = 0) -> OverOwn:
    with pytest.raises(OverOwn) as refused:
        key.ask(now, tokens)
    return refused.value


def test_keys_have_what_they_are_given_and_no_more() -> None:
    gate = key_with(open_=2, tokens=100).gate
    assert list(gate.own) == ["a", "other"]
    assert [gate.own["a"].open is None, gate.own["a"].requests is None, gate.own["a"].tokens is None] == [
        False,
        True,
        False,
    ]


def test_requests_at_a_time_are_free_again_when_they_end() -> None:
    key = key_with(open_=2)
    first, _ = key.ask(0.0), key.ask(0.0)
    assert over(key, 0.0).quota.limit.name == "key:a:open"
    key.end(first, 1.0)
    key.ask(1.0)
    over(key, 1.0)


def test_requests_of_a_minute_are_used_however_short_they_are_and_the_time_is_told() -> None:
    key = key_with(requests=3)
    for second in (0.0, 10.0, 20.0):
        key.end(key.ask(second), second)
    refused = over(key, 30.0)
    assert (refused.quota.limit.name, refused.expected) == ("key:a:requests", 31.0)
    key.ask(61.0)
    over(key, 61.0)


def test_tokens_are_settled_when_a_request_has_ended() -> None:
    key = key_with(tokens=1000)
    small, large = key.ask(0.0, 400), key.ask(0.0, 600)
    assert over(key, 0.0, 1).quota.limit.name == "key:a:tokens"
    key.end(small, 1.0, spent=100)
    key.ask(1.0, 300)
    key.end(large, 30.0, spent=2600)
    tokens = key.gate.own["a"].tokens
    assert tokens is not None
    assert tokens.in_use == 3000
    # What was made later counts from then.
    assert over(key, 62.0, 1).expected == pytest.approx(29.0)


def test_what_was_sent_to_nobody_took_nothing_and_what_is_not_known_stays_as_it_was_thought() -> None:
    key = key_with(requests=2, tokens=1000)
    key.gate.leave(key.ask(0.0, 700), 1.0)
    key.end(key.ask(1.0, 800), 2.0, spent=None)
    own = key.gate.own["a"]
    assert own.requests is not None
    assert own.tokens is not None
    assert (own.requests.in_use, own.tokens.in_use) == (1, 800)


def test_with_all_of_the_limit_on_this_plane_nobody_waits() -> None:
    key = key_with(requests=1)
    key.ask(0.0)
    over(key, 0.0)
    assert key.gate.waiting == 0


def test_where_another_plane_may_have_room_a_request_waits_for_it_and_those_after_it_do_not_when_there_is_none() -> (
    None
):
    key = key_with(requests=4, part=2)
    key.ask(0.0), key.ask(0.0)
    waiting = key.ask(0.0)
    assert (waiting.state, key.gate.is_at_key(waiting)) == (State.WAITING, True)
    assert key.gate.quotas["key:a:requests"].needs(key.gate.waiting_for(key.gate.quotas["key:a:requests"]), 0.1) == (
        {"": 3},
        {},
    )
    assert key.gate.next_at_key(0.1) is None
    key.lend(0.1, requests=3)
    assert key.gate.next_at_key(0.1) is waiting
    assert key.gate.enter(waiting, 0.1)
    late = key.ask(0.15)
    assert key.gate.next_at_key(LEASE_WAIT - 0.01) is None
    assert key.gate.next_at_key(LEASE_WAIT) is late
    with pytest.raises(OverOwn):
        key.gate.enter(late, LEASE_WAIT)
    for step in range(10):
        over(key, 0.3 + step)
    # Nobody asked for a while: other planes may have room again.
    assert key.gate.is_at_key(key.ask(13.0))


def test_a_plane_that_has_heard_of_no_control_plane_lets_requests_wait_for_as_long_as_it_takes() -> None:
    key = key_with(requests=4)
    key.lend(0.0, requests=0)
    key.gate.hears = False
    waiting = key.ask(0.0)
    assert waiting.use is not None
    assert waiting.use.until == SETTLING + LEASE_WAIT


def test_who_leaves_while_it_waits_holds_nothing() -> None:
    key = key_with(requests=4, part=2)
    first, _, waiting = key.ask(0.0), key.ask(0.0), key.ask(0.0)
    key.gate.leave(waiting, 0.1)
    key.lend(0.1, requests=4)
    assert key.gate.next_at_key(0.1) is None
    assert key.gate.waiting == 0
    assert first.use is not None
    assert first.use.limits.requests is not None
    assert first.use.limits.requests.in_use == 2


def test_a_key_that_waits_holds_up_no_other_one() -> None:
    key = key_with(requests=4, tokens=100, part=2)
    key.ask(0.0, 50)
    large, small = key.ask(0.0, 40), key.ask(0.0, 1)
    other = Key(key.gate, "other")
    other.lend(0.0, requests=0)
    waiting = other.ask(0.0)
    other.lend(0.0, requests=1)
    assert key.gate.next_at_key(0.0) is waiting
    key.lend(0.0, tokens=100)
    assert key.gate.next_at_key(0.0) is large
    assert key.gate.next_at_key(0.0) is small


def test_what_more_may_never_be_is_refused_at_once() -> None:
    key = key_with(tokens=100, part=2)
    assert over(key, 0.0, 101).use.asked.tokens == 101


def test_a_request_that_finds_no_place_in_the_line_has_taken_nothing_and_one_that_waits_there_has() -> None:
    key = key_with(open_=3, requests=9, shared=1)
    first, second = key.ask(0.0), key.ask(0.0)
    assert (first.state, second.state) == (State.ADMITTED, State.WAITING)
    with pytest.raises(Refused):
        key.ask(0.0)
    own = key.gate.own["a"]
    assert own.open is not None
    assert own.requests is not None
    assert (own.open.in_use, own.requests.in_use) == (2, 2)
    key.gate.leave(second, 1.0)
    assert (own.open.in_use, own.requests.in_use) == (1, 1)


def test_limits_that_change_hold_for_what_is_open_and_what_waits() -> None:
    key = key_with(requests=4, part=2)
    first, _, waiting = key.ask(0.0), key.ask(0.0), key.ask(0.0)
    limits = key_limits_of([ClientKey(name="a", digest=b"", max_concurrent_requests=5)])
    key.gate.use(limits, 1)
    assert key.gate.own["a"].requests is None
    key.end(first, 1.0)
    key.lend(1.0, open=5)
    assert key.gate.next_at_key(1.0) is waiting
    assert key.gate.enter(waiting, 1.0)
    key.gate.use((), 1)
    key.end(waiting, 2.0)
    assert key.gate.own == {}


def test_who_waits_for_a_limit_that_is_taken_away_goes_on() -> None:
    key = key_with(requests=4, part=2)
    key.ask(0.0), key.ask(0.0)
    waiting = key.ask(0.0)
    key.gate.use((), 1)
    assert key.gate.next_at_key(0.1) is waiting
    assert key.gate.enter(waiting, 0.1)


def test_a_tenant_s_weight_is_what_it_gets_of_those_that_wait() -> None:
    gate = Gate()
    gate.use((Limit("total", "slots", 1),), 100)
    gate.quotas["total"].allow(0, 0.0)
    gate.is_leased = True
    gate.shares.weights = {"three": 3}
    for number in range(20):
        gate.enter(Ticket(LaneKey(0, "three" if number % 2 else "one", "m"), 1, 0.0), 0.0)
    gate.quotas["total"].allow(8, 0.0)
    went = [ticket.key.tenant for ticket in gate.wake(0.0)]
    assert (went.count("three"), went.count("one")) == (6, 2)


def test_a_request_that_waits_for_leases_wants_one_of_each_of_its_key_s_limits() -> None:
    key = key_with(open_=2, requests=10, tokens=100)
    key.lend(0.0, open=0, requests=0, tokens=0)
    assert key.ask(0.0, 5).state is State.WAITING
    wanted = {name: quota.refused.counts(0.0).total() for name, quota in key.gate.quotas.items()}
    assert wanted == {"key:a:open": 1, "key:a:requests": 1, "key:a:tokens": 5, "key:other:requests": 0}
