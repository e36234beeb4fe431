"""Who goes on, who waits and who is refused, without a clock or a loop."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dataplane.admission.asking import LEASE_WAIT
from dataplane.admission.gate import QUEUE_BYTES, Gate
from dataplane.admission.kept import PART
from dataplane.admission.line import LaneKey
from dataplane.admission.quota import Slots, all_have_room
from dataplane.admission.refused import Refused, in_vain
from dataplane.admission.ticket import State, Ticket
from shared.limits import Limit

SLOTS = Limit("total", "slots", 100)
RATE = Limit("rate", "rate", 100_000)


def gate_of(slots: int, queue: int = 10, rate: int | None = None) -> Gate:
    gate = Gate()
    gate.use((SLOTS,) if rate is None else (SLOTS, RATE), queue)
    gate.quotas["total"].allow(slots, 0.0)
    if rate is not None:
        gate.quotas["rate"].allow(rate, 0.0)
    gate.is_leased = True
    return gate


def ticket(now: float = 0.0, *, tenant: str = "", model: str | None = "m", rank: int = 0, size: int = 10) -> Ticket:
    return Ticket(LaneKey(rank, tenant, model), size, now)


def test_a_freed_slot_wakes_exactly_one_in_order_of_arrival() -> None:
    gate = gate_of(2)
    first, second, *others = (ticket() for _ in range(5))
    assert gate.enter(first, 0.0)
    assert gate.enter(second, 0.0)
    assert not any(gate.enter(one, 0.0) for one in others)
    assert gate.wake(0.0) == []
    gate.leave(first, 1.0)
    assert gate.wake(1.0) == [others[0]]
    assert gate.wake(1.0) == []
    gate.leave(others[0], 2.0)
    gate.leave(second, 2.0)
    assert gate.wake(2.0) == others[1:]
    assert gate.waiting == 0


def test_who_leaves_while_waiting_is_never_woken_and_holds_nothing() -> None:
    gate = gate_of(1)
    first, second, third = (ticket() for _ in range(3))
    gate.enter(first, 0.0)
    gate.enter(second, 0.0)
    gate.enter(third, 0.0)
    gate.leave(second, 0.1)
    gate.leave(first, 0.2)
    assert gate.wake(0.2) == [third]
    gate.leave(third, 0.3)
    gate.wake(0.3)
    assert (gate.waiting, gate.quotas["total"].in_use, gate._bytes) == (0, 0, 0)


def test_a_queue_is_bounded_for_each_model() -> None:
    gate = gate_of(0, queue=2)
    for model in ("m", "m", "n", "n"):
        assert not gate.enter(ticket(model=model), 0.0)
    with pytest.raises(Refused) as refused:
        gate.enter(ticket(), 0.0)
    assert refused.value.quota is gate.quotas["total"]
    assert _needs(gate, "total") == ({"": 5}, {})


def test_a_queue_is_bounded_in_bytes_but_for_one() -> None:
    gate = gate_of(0)
    assert not gate.enter(ticket(size=2 * QUEUE_BYTES), 0.0)
    with pytest.raises(Refused):
        gate.enter(ticket(size=1), 0.0)


def test_without_a_queue_one_is_refused_at_once_unless_nothing_is_known_of_leases_yet() -> None:
    gate = gate_of(1, queue=0)
    gate.enter(ticket(), 0.0)
    with pytest.raises(Refused):
        gate.enter(ticket(), 0.0)
    gate.is_leased = False
    assert not gate.enter(ticket(), 0.0)


def test_without_a_queue_a_plane_without_a_part_asks_for_one_and_a_request_waits_for_that_alone() -> None:
    gate = gate_of(0, queue=0)
    lone = ticket()
    assert not gate.enter(lone, 0.0)
    assert (lone.until, lone.limit) == (LEASE_WAIT, "total")
    assert gate.waiting_for(gate.quotas["total"]) == {lone.key.share: 1}
    assert gate.wake(0.01) == []
    gate.quotas["total"].allow(1, 0.02)
    assert gate.wake(0.02) == [lone]
    assert lone.until is None
    # Whoever finds its one place taken is refused as ever.
    with pytest.raises(Refused):
        gate.enter(ticket(0.03), 0.03)
    gate.leave(lone, 0.1)
    gate.quotas["total"].allow(0, 0.2)
    # It was not in vain: the next one waits, too, however soon it comes.
    assert not gate.enter(ticket(0.5), 0.5)


def test_where_asking_was_in_vain_others_are_refused_at_once_while_they_come() -> None:
    gate = gate_of(0, queue=0)
    first, second = ticket(), ticket(0.2)
    assert not gate.enter(first, 0.0)
    assert not gate.enter(second, 0.2)
    assert second.until == first.until, "nobody waits for an answer longer than the first"
    refused = in_vain(first, gate.expected(first, LEASE_WAIT), LEASE_WAIT)
    assert refused.quota is gate.quotas["total"]
    gate.leave(first, LEASE_WAIT)
    gate.leave(second, LEASE_WAIT)
    for when in (0.3, 1.5, 3.0):
        with pytest.raises(Refused):
            gate.enter(ticket(when), when)
    assert not gate.enter(ticket(6.0), 6.0)


def test_without_a_queue_it_is_a_bounded_number_that_waits_for_a_lease_and_none_of_little_patience() -> None:
    gate = gate_of(0, queue=0)
    with pytest.raises(Refused):
        gate.enter(Ticket(LaneKey(0, "", "m"), 10, 0.0, None, 0.0), 0.0)
    assert not any(gate.enter(ticket(), 0.0) for _ in range(100))
    with pytest.raises(Refused):
        gate.enter(ticket(), 0.0)
    # With a queue it is the queue that says how many wait, and for how long.
    queued = ticket()
    assert not gate_of(0, queue=1).enter(queued, 0.0)
    assert queued.until is None


def test_a_tenant_that_floods_waits_for_the_others() -> None:
    gate = gate_of(1, queue=100)
    gate.enter(ticket(tenant="flood"), 0.0)
    flood = [ticket(tenant="flood") for _ in range(20)]
    for one in flood:
        gate.enter(one, 0.0)
    quiet = [ticket(tenant="quiet") for _ in range(3)]
    for one in quiet:
        gate.enter(one, 0.0)
    order = _drained(gate, 23)
    assert order[:6].count("quiet") == 3


def test_a_better_class_goes_first() -> None:
    gate = gate_of(1, queue=100)
    gate.enter(ticket(), 0.0)
    for rank, tenant in ((1, "batch"), (1, "batch"), (0, "chat")):
        gate.enter(ticket(rank=rank, tenant=tenant), 0.0)
    assert _drained(gate, 3) == ["chat", "batch", "batch"]


def _drained(gate: Gate, count: int) -> list[str]:
    """Free the one slot again and again; return the tenants that went on, in order."""
    order: list[str] = []
    total = gate.quotas["total"]
    assert isinstance(total, Slots)
    total.give_back(total.by_share.most_common(1)[0][0])
    while len(order) < count:
        (one,) = gate.wake(0.0)
        order.append(one.key.tenant)
        gate.leave(one, 0.0)
    return order


def test_those_that_are_refused_are_told_to_come_back_one_after_the_other() -> None:
    gate = gate_of(1, queue=1)
    last = ticket()
    gate.enter(last, 0.0)
    for second in range(1, 6):
        gate.leave(last, second)
        gate.wake(second)
        last = ticket(second)
        gate.enter(last, second)
    gate.enter(ticket(5.0), 5.0)

    def told(now: float) -> float:
        with pytest.raises(Refused) as refused:
            gate.enter(ticket(now), now)
        assert refused.value.expected is not None
        return refused.value.expected

    # Five ended within four seconds.
    assert [told(5.0) for _ in range(3)] == pytest.approx([1.6, 2.4, 3.2])
    assert [told(5.0) for _ in range(100)][-1] == pytest.approx(60.0)
    gate.leave(last, 5.1)
    (last,) = gate.wake(5.1)
    gate.leave(last, 5.2)
    assert gate.wake(5.2) == []
    # A place stayed free: nobody comes back.
    gate.enter(ticket(5.3), 5.3)
    gate.enter(ticket(5.3), 5.3)
    assert told(5.3) < 2.0


def test_expected_waits_come_from_how_fast_requests_end() -> None:
    gate = gate_of(1, queue=1)
    one = ticket()
    gate.enter(one, 0.0)
    for second in range(1, 6):
        gate.leave(one, float(second))
        gate.wake(float(second))
        one = ticket()
        gate.enter(one, float(second))
    waiting = ticket()
    gate.enter(waiting, 5.0)
    assert waiting.position == 0
    assert waiting.expected == pytest.approx(0.8)
    with pytest.raises(Refused) as refused:
        gate.enter(ticket(), 5.0)
    assert refused.value.expected == pytest.approx(1.6)


def test_a_rate_lets_as_many_go_as_flow_in_and_says_when_the_next_one_can() -> None:
    gate = gate_of(1000, queue=1000, rate=10_000)
    waiting = [ticket() for _ in range(100)]
    went = [gate.enter(one, 0.0) for one in waiting]
    assert not any(went)
    assert gate.room_in(0.0) == pytest.approx(0.1)
    assert gate.wake(0.05) == []
    assert gate.wake(0.31) == waiting[:3]
    total = 3 + sum(len(gate.wake(0.31 + step / 100)) for step in range(1, 500))
    assert total in (52, 53)
    assert waiting[99].expected == pytest.approx(10.0)


def test_a_rate_that_was_not_used_for_long_lets_a_second_s_worth_go_at_once() -> None:
    gate = gate_of(1000, queue=1000, rate=10_000)
    gate.wake(0.0)
    assert not gate.enter(ticket(), 0.0)
    gate.wake(500.0)
    assert sum(gate.enter(ticket(), 500.0) for _ in range(50)) == 9


def test_a_slow_rate_lets_one_go_when_it_has_come_together() -> None:
    gate = gate_of(10, queue=10, rate=100)
    one = ticket()
    gate.enter(one, 0.0)
    assert gate.wake(9.9) == []
    assert gate.wake(10.01) == [one]


def test_a_limit_that_is_taken_away_lets_all_go() -> None:
    gate = gate_of(0)
    waiting = [ticket() for _ in range(3)]
    for one in waiting:
        gate.enter(one, 0.0)
    gate.use((), 10)
    assert gate.wake(0.0) == waiting


def _needs(gate: Gate, name: str) -> tuple[dict[str, int], ...]:
    quota = gate.quotas[name]
    return quota.needs(gate.waiting_for(quota), 0.5)


def limited_model(slots: int, of_model: int, queue: int = 10) -> Gate:
    gate = Gate()
    gate.use((SLOTS, Limit("model:m", "slots", of_model)), queue)
    gate.quotas["total"].allow(slots, 0.0)
    gate.quotas["model:m"].allow(of_model, 0.0)
    gate.is_leased = True
    return gate


def test_a_model_at_its_limit_waits_and_others_go_past() -> None:
    gate = limited_model(10, 1)
    first, second = ticket(), ticket()
    assert gate.enter(first, 0.0)
    assert not gate.enter(second, 0.0)
    others = [ticket(model=model) for model in ("n", None, "n")]
    assert all(gate.enter(one, 0.0) for one in others)
    assert others[0].position is None
    assert (second.limit, others[0].limit) == ("model:m", "")
    gate.leave(others[0], 0.0)
    assert gate.wake(0.0) == []
    gate.leave(first, 0.0)
    assert gate.wake(0.0) == [second]


def test_a_model_at_its_limit_names_that_and_not_another_when_it_refuses() -> None:
    gate = limited_model(10, 1, queue=0)
    gate.enter(ticket(), 0.0)
    with pytest.raises(Refused) as refused:
        gate.enter(ticket(), 0.0)
    assert refused.value.quota is gate.quotas["model:m"]


def test_those_that_wait_for_a_model_need_no_more_of_all_than_the_model_may_have() -> None:
    gate = limited_model(0, 3, queue=100)
    for _ in range(20):
        gate.enter(ticket(), 0.0)
    gate.enter(ticket(model="n"), 0.0)
    assert _needs(gate, "total") == ({"": 4}, {})
    assert _needs(gate, "model:m") == ({"": 20}, {})


def crowd(flood: int = 3) -> tuple[Gate, list[Ticket]]:
    """Return a gate of two slots, one for each of two tenants, whose requests take a second, before a queue."""
    gate = gate_of(2, queue=100)
    quiet, busy = ticket(tenant="quiet"), ticket(tenant="flood")
    assert gate.enter(quiet, 0.0)
    assert gate.enter(busy, 0.0)
    for _ in range(flood):
        assert not gate.enter(ticket(tenant="flood"), 0.5)
    return gate, [quiet, busy]


def test_a_slot_of_one_within_its_share_is_kept_for_it_a_moment() -> None:
    gate, (quiet, _) = crowd()
    gate.leave(quiet, 1.0)
    assert gate.wake(1.0) == []
    assert gate.room_in(1.0) == pytest.approx(PART)
    again = ticket(1.01, tenant="quiet")
    assert gate.enter(again, 1.01)
    # It does not come back this time.
    gate.leave(again, 2.0)
    assert gate.wake(2.0 + PART / 2) == []
    assert [one.key.tenant for one in gate.wake(2.0 + PART)] == ["flood"]


def test_nothing_is_kept_for_one_that_uses_more_than_its_share_or_waits_or_does_not_come_back() -> None:
    gate, (quiet, busy) = crowd()
    gate.leave(quiet, 1.0)
    (second,) = gate.wake(1.0 + PART)
    gate.leave(busy, 1.2)
    assert len(gate.wake(1.2)) == 1
    for number in range(40):
        now = 2.0 + number
        gate._line.went(LaneKey(0, "flood", "m"))
        gate.enter(ticket(now, tenant="flood"), now)
        gate.enter(one := ticket(now, tenant="quiet"), now)
        gate.leave(second, now)
        woken = gate.wake(now)
        assert woken == [one]
        gate.leave(one, now + 0.5)
        at_once = gate.wake(now + 0.5)
        (second,) = at_once or gate.wake(now + 0.6)
        if at_once:
            break
    assert number > 5


def test_what_was_kept_is_given_back_when_nobody_waits_any_more() -> None:
    gate, (quiet, busy) = crowd(flood=1)
    (waits,) = gate._line
    gate.leave(quiet, 1.0)
    gate.leave(waits, 1.0)
    gate.wake(1.0)
    assert gate.quotas["total"].in_use == 1
    gate.leave(busy, 1.0)
    gate.wake(1.0)
    assert gate.quotas["total"].in_use == 0


class Gates(RuleBasedStateMachine):
    """Whatever comes, ends, leaves or is lent: nobody waits who could go on, and nothing is counted twice.

    Nobody goes on above what is lent, and where nobody may wait, one waits only for a plane's first part, for a moment.
    """

    @initialize(rate=st.booleans(), queue=st.sampled_from((0, 4)))
    def begin(self, rate: bool, queue: int) -> None:
        self.now = 0.0
        self.queue = queue
        self.gate = gate_of(3, queue, 5_000 if rate else None)
        self.open: list[Ticket] = []

    @rule(tenant=st.sampled_from("ab"), model=st.sampled_from("mn"), rank=st.integers(0, 1))
    def come(self, tenant: str, model: str, rank: int) -> None:
        one = ticket(self.now, tenant=tenant, model=model, rank=rank)
        total = self.gate.quotas["total"]
        try:
            goes = self.gate.enter(one, self.now)
        except Refused:
            return
        assert goes or self.queue or not total.allowed
        assert not goes or total.in_use <= total.allowed
        self.open.append(one)
        self.wake()

    def wake(self) -> list[Ticket]:
        total = self.gate.quotas["total"]
        gone = self.gate.wake(self.now)
        assert not gone or total.in_use <= total.allowed
        return gone

    @rule(position=st.integers(0, 30))
    def go(self, position: int) -> None:
        if self.open:
            one = self.open.pop(position % len(self.open))
            was_waiting = one.state is State.WAITING
            self.gate.leave(one, self.now)
            assert not (was_waiting and "rate" not in self.gate.quotas and self.wake())
            self.wake()

    @rule(slots=st.integers(0, 6))
    def lend(self, slots: int) -> None:
        self.gate.quotas["total"].allow(slots, self.now)
        self.wake()

    @rule(seconds=st.sampled_from((0.01, 0.2, 3.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for late in [one for one in self.open if one.until is not None and one.until <= self.now]:
            self.open.remove(late)
            self.gate.leave(late, self.now)
        self.wake()

    @invariant()
    def adds_up(self) -> None:
        if not hasattr(self, "gate"):
            return
        waiting = [one for one in self.open if one.state is State.WAITING]
        total = self.gate.quotas["total"]
        kept = sum(len(of_lane) for of_lane in self.gate._kept._kept.values())
        assert total.in_use == len(self.open) - len(waiting) + kept
        assert waiting or not kept
        assert self.gate.waiting == len(waiting)
        assert self.gate._bytes == sum(one.size for one in waiting)
        assert not waiting or not all_have_room(self.gate._shared, self.now)
        assert self.queue or all(one.until is not None and one.until <= self.now + LEASE_WAIT for one in waiting)
        assert self.gate._is_crowded or not waiting


TestGates = Gates.TestCase
TestGates.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
