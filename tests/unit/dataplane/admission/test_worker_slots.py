"""Workers' slots in the gate, through every history of requests that come, choose, go on to others and leave."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.admission.gate import Gate
from dataplane.admission.line import LaneKey
from dataplane.admission.ticket import State, Ticket
from dataplane.admission.worker_slots import NOTHING, Promised, WorkerLimits, WorkerSlots
from shared.limits import WORKER, Limit

WORKERS = ("a", "b", "c")
SHARE = (0, "")
POOLS = (("a",), ("a", "b"), ("b", "c"), ("a", "b", "c"))


class Some:
    """An `Among` of these workers."""

    def __init__(self, limits: WorkerLimits, workers: tuple[str, ...]) -> None:
        self._limits = limits
        self.workers = workers

    def __hash__(self) -> int:
        return hash(self.workers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Some) and self.workers == other.workers

    def have_room(self) -> bool:
        return not set(self.workers) <= self._limits.full

    def promise(self) -> Promised:
        first = next(worker for worker in self.workers if worker not in self._limits.full)
        slots = self._limits.slots.get(first)
        return NOTHING if slots is None else {"plain": slots}

    def limited(self) -> Iterable[WorkerSlots]:
        return (self._limits.slots[worker] for worker in self.workers if worker in self._limits.slots)


def limits(*amounts: int) -> list[Limit]:
    return [Limit(WORKER + worker, "slots", amount) for worker, amount in zip(WORKERS, amounts, strict=False)]


def gate_of(*amounts: int, queue: int = 9) -> Gate:
    gate = Gate()
    gate.use(limits(*amounts), queue)
    for slots, amount in zip(gate.workers.slots.values(), amounts, strict=True):
        slots.allow(amount, 0.0)
    gate.is_leased = True
    return gate


def ticket(gate: Gate, *workers: str, begun: bool = False) -> Ticket:
    made = Ticket(LaneKey(0, "", "m", begun), 1, 0.0)
    made.among = Some(gate.workers, workers)
    return made


def test_a_worker_of_which_nothing_is_known_yet_is_full() -> None:
    gate = Gate()
    gate.use(limits(3), 9)
    assert gate.workers.full == {"a"}
    gate.quotas["worker:a"].allow(1, 0.0)
    assert gate.workers.full == set()


def test_those_that_were_open_before_there_was_a_limit_count_until_they_have_ended() -> None:
    gate = Gate()
    gate.use(limits(3), 9, {"a": 2, "b": 5})
    slots = gate.workers.slots["a"]
    slots.allow(3, 0.0)
    assert (slots.in_use, gate.workers.full) == (2, set())
    taken = gate.workers.hold("a", SHARE, 0.0)
    assert gate.workers.full == {"a"}
    # One has ended; those that hold a slot say so themselves.
    gate.workers.look({"a": 2})
    assert (slots.in_use, gate.workers.full) == (2, set())
    assert taken is slots
    slots.give_back(SHARE)
    gate.workers.look({"a": 3})
    assert (slots.in_use, gate.workers.unsure) == (1, [slots])
    gate.workers.look({})
    assert (slots.in_use, slots.by_share[SHARE], gate.workers.unsure) == (0, 0, [])


def test_so_do_those_that_came_while_the_limit_was_away() -> None:
    gate = gate_of(3)
    taken = gate.workers.hold("a", SHARE, 0.0)
    assert taken is not None
    gate.use([], 9)
    gate.use(limits(3), 9, {"a": 3})
    slots = gate.workers.slots["a"]
    assert (slots is taken, slots.in_use, slots.slotless) == (True, 3, 2)


def test_what_is_promised_is_nobody_elses_until_another_slot_is_taken() -> None:
    gate = gate_of(1, 1)
    first, second, third = ticket(gate, "a", "b"), ticket(gate, "a", "b"), ticket(gate, "a")
    assert gate.enter(first, 0.0)
    assert gate.enter(second, 0.0)
    assert not gate.enter(third, 0.0)
    # The first one was promised a slot of a, and chooses b's, which the second one has not taken yet.
    gate.leave(second, 0.0)
    gate.take_back(first, None)
    taken = gate.workers.hold("b", SHARE, 0.0)
    assert taken is not None
    assert gate.wake(0.0) == [third]
    assert gate.workers.full == {"a", "b"}


def test_a_request_needs_a_slot_of_each_half_and_keeps_the_second_while_it_has_the_first() -> None:
    gate = gate_of(1, 1)
    both = ticket(gate, "a")
    both.promised = {"prefill": gate.workers.slots["a"], "decode": gate.workers.slots["b"]}
    for slots in both.promised.values():
        slots.take(SHARE, 0.0)
    gate.take_back(both, "prefill")
    assert gate.workers.full == {"b"}
    gate.take_back(both)
    assert gate.workers.full == set()


def test_those_that_wait_count_where_they_could_go_and_nowhere_else() -> None:
    gate = Gate()
    gate.use([Limit("total", "slots", 9), *limits(1, 1)], 9)
    gate.quotas["total"].allow(9, 0.0)
    gate.is_leased = True
    gate.enter(ticket(gate, "a"), 0.0)
    gate.enter(ticket(gate, "a", "b"), 0.0)
    assert gate.wanted() == {"total", "worker:a", "worker:b"}
    assert [gate.waiting_for(slots) for slots in gate.workers.slots.values()] == [{SHARE: 2}, {SHARE: 1}]
    # They could not use more of the limit on all.
    assert not gate.waiting_for(gate.quotas["total"])


def test_who_waits_for_one_worker_holds_nobody_up_who_waits_for_another() -> None:
    gate = gate_of(0, 0)
    first, second = ticket(gate, "a"), ticket(gate, "b")
    gate.enter(first, 0.0)
    gate.enter(second, 0.0)
    gate.workers.slots["b"].allow(1, 0.0)
    assert gate.wake(0.0) == [second]


class Slots(RuleBasedStateMachine):
    """Requests at three workers. What a worker has at a time never grows above what is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = gate_of(1, 2, 1)
        self.chosen: dict[Ticket, WorkerSlots] = {}
        self.undecided: list[Ticket] = []
        self.waiting: list[Ticket] = []

    def _woken(self) -> None:
        for one in self.gate.wake(0.0):
            self.waiting.remove(one)
            self.undecided.append(one)

    def _taken(self, worker: str) -> int:
        return self.gate.workers.slots[worker].in_use

    @rule(pool=st.sampled_from(POOLS))
    def comes(self, pool: tuple[str, ...]) -> None:
        one = ticket(self.gate, *pool)
        could = any(self._taken(worker) < self.gate.workers.slots[worker].allowed for worker in pool)
        if self.gate.waiting < 8:
            goes = self.gate.enter(one, 0.0)
            assert goes == could
            (self.undecided if goes else self.waiting).append(one)

    @precondition(lambda self: self.undecided)
    @rule(data=st.data())
    def chooses(self, data: st.DataObject) -> None:
        one = self.undecided.pop(data.draw(st.integers(0, len(self.undecided) - 1)))
        assert isinstance(one.among, Some)
        self.gate.take_back(one)
        free = [worker for worker in one.among.workers if worker not in self.gate.workers.full]
        if free:
            worker = data.draw(st.sampled_from(free))
            before = self._taken(worker)
            taken = self.gate.workers.hold(worker, SHARE, 0.0)
            assert taken is not None
            assert before < taken.allowed
            self.chosen[one] = taken
        else:
            # What was promised is allowed no more.
            again = ticket(self.gate, *one.among.workers, begun=True)
            self.gate.leave(one, 0.0)
            self.gate.wait_again(again, 0.0)
            self.waiting.append(again)
        self._woken()

    @precondition(lambda self: self.chosen)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(list(self.chosen)))
        slots = self.chosen.pop(one)
        waiting = len(self.waiting)
        slots.give_back(SHARE)
        self.gate.leave(one, 0.0)
        self._woken()
        assert waiting - len(self.waiting) <= 1

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        one = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.gate.leave(one, 0.0)
        self._woken()

    @rule(worker=st.sampled_from(WORKERS), amount=st.integers(0, 3))
    def is_allowed(self, worker: str, amount: int) -> None:
        self.gate.workers.slots[worker].allow(amount, 0.0)
        self._woken()

    @invariant()
    def full_ones_are_known(self) -> None:
        for worker, slots in self.gate.workers.slots.items():
            assert (worker in self.gate.workers.full) == (slots.in_use >= slots.allowed)

    @invariant()
    def all_is_counted(self) -> None:
        promised = sum(len(one.promised) for one in self.undecided)
        assert sum(slots.in_use for slots in self.gate.workers.slots.values()) == len(self.chosen) + promised

    @invariant()
    def nobody_waits_who_could_go(self) -> None:
        assert self.gate.waiting == len(self.waiting)
        assert not any(one.among is not None and one.among.have_room() for one in self.waiting)
        assert all(one.state is State.WAITING for one in self.waiting)


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
