"""A plane's copy against what the control plane would really say, with messages lost, doubled and late."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dataplane.kv.replica import BUFFER_LIMIT, GRACE, JITTER, REQUEST_TIMEOUT, Ask, Replica
from shared.kv_chain import pack
from shared.kv_messages import (
    PAGE_BLOCKS,
    TIER_DEVICE,
    TIER_DISK,
    TIER_HOST,
    TIER_NONE,
    KvPage,
    KvSourceState,
    KvStanding,
    KvUpdate,
)
from shared.table import Stamp

STAMP = Stamp(1, 1, 0)


class Truth:
    """What one source holds, and the messages that tell of it, without the control plane's code."""

    def __init__(self, worker: str = "w", rank: int = 0, life: int = 1) -> None:
        self.worker, self.rank, self.life, self.seq = worker, rank, life, 0
        self.held: dict[int, int] = {}

    @property
    def state(self) -> KvSourceState:
        return KvSourceState(self.worker, self.rank, self.life, self.seq, 16, len(self.held))

    def change(self, changes: dict[int, int]) -> KvUpdate:
        self.held = {key: tier for key, tier in (self.held | changes).items() if tier}
        self.seq += 1
        return KvUpdate(STAMP, self.state, pack(changes), bytes(changes.values()))

    def purge(self) -> None:
        self.life, self.seq, self.held = self.life + 1, 0, {}

    def pages(self, request_id: int, size: int = PAGE_BLOCKS) -> list[KvPage]:
        keys = list(self.held)
        parts = [keys[start : start + size] for start in range(0, len(keys), size)] or [[]]
        return [
            KvPage(
                request_id,
                STAMP,
                self.state,
                number,
                len(parts),
                pack(part),
                bytes(self.held[key] for key in part),
            )
            for number, part in enumerate(parts)
        ]


def standing(*truths: Truth) -> KvStanding:
    return KvStanding(STAMP, tuple(truth.state for truth in truths))


def held(replica: Replica, worker: str = "w", rank: int = 0) -> dict[int, int] | None:
    """What the copy of a source holds; None when there is none."""
    copy = replica._copies.get((worker, rank))
    if copy is None:
        return None
    keys = set(replica.holders.held(copy.bit))
    assert len(keys) == copy.blocks
    assert copy.lower.keys() <= keys
    return {key: copy.lower.get(key, TIER_DEVICE) for key in keys}


def asked(replica: Replica, now: float) -> Ask:
    """The next question, once it is due and what was dropped is swept out."""
    while True:
        due = replica.next_tick()
        assert due is not None
        now = max(now, due)
        asks = replica.on_tick(now)
        if asks:
            [ask] = asks
            return ask


def swept(replica: Replica) -> bool:
    """Whether there is nothing to do once what was dropped is swept out."""
    while replica.next_tick() == 0.0:
        assert replica.on_tick(0.0) == []
    return replica.next_tick() is None


def test_updates_are_followed_from_the_beginning() -> None:
    replica, truth = Replica(Random(1)), Truth()
    assert replica.on_standing(standing(truth), 0.0) == []
    assert replica.on_update(truth.change({1: TIER_DEVICE, 2: TIER_HOST}), 0.0) == []
    assert replica.on_update(truth.change({1: TIER_NONE, 2: TIER_DEVICE, 3: TIER_DISK}), 0.0) == []
    assert held(replica) == truth.held == {2: TIER_DEVICE, 3: TIER_DISK}
    assert (replica.blocks, replica.sources, replica.resyncs) == (2, 1, 0)
    assert replica.next_tick() is None


def test_engines_count_from_their_first_block_on() -> None:
    """An engine that holds nothing has not told the size of its blocks."""
    replica = Replica(Random(1))
    states = [KvSourceState(worker, 0, 1, 0, 0, 0) for worker in "ab"]
    replica.on_standing(KvStanding(STAMP, tuple(states)), 0.0)
    assert replica.by_size == {}
    for worker in "ab":
        replica.on_update(Truth(worker).change({1: TIER_DEVICE}), 0.0)
        assert replica.by_size[16] & replica.bits_of(worker)
    assert replica.holders.depths([1], replica.by_size[16])[0][0] == 1


def test_a_gap_is_asked_for_while_the_old_copy_serves() -> None:
    replica, truth = Replica(Random(1)), Truth()
    replica.on_update(truth.change({1: TIER_DEVICE}), 0.0)
    truth.change({2: TIER_DEVICE})
    replica.on_update(truth.change({3: TIER_DEVICE}), 0.0)
    assert held(replica) == {1: TIER_DEVICE}
    ask = asked(replica, 0.0)
    assert (ask.worker, ask.rank) == ("w", 0)
    late = truth.change({4: TIER_DEVICE, 1: TIER_NONE})
    pages = truth.pages(ask.request_id, size=1)
    replica.on_update(late, 0.0)
    replica.on_update(truth.change({5: TIER_DEVICE}), 0.0)
    for page in pages:
        replica.on_page(page, 0.0)
    assert held(replica) == truth.held
    assert replica.resyncs == 1
    assert swept(replica)
    assert len(replica.holders) == len(truth.held)


def test_a_lost_last_update_shows_in_the_standing() -> None:
    replica, truth = Replica(Random(1)), Truth()
    replica.on_update(truth.change({1: TIER_DEVICE}), 0.0)
    truth.change({2: TIER_DEVICE})
    replica.on_standing(standing(truth), 1.0)
    for page in truth.pages(asked(replica, 1.0).request_id):
        replica.on_page(page, 1.0)
    assert held(replica) == truth.held


def test_another_life_empties_the_copy() -> None:
    replica, truth = Replica(Random(1)), Truth()
    replica.on_update(truth.change({1: TIER_DEVICE}), 0.0)
    truth.purge()
    replica.on_standing(standing(truth), 0.0)
    assert held(replica) == {}
    truth.purge()
    replica.on_update(truth.change({2: TIER_DEVICE}), 0.0)
    assert held(replica) == {2: TIER_DEVICE}


def test_a_source_that_is_gone_is_forgotten() -> None:
    replica, one, two = Replica(Random(1)), Truth(rank=0), Truth(rank=1)
    replica.on_update(one.change({1: TIER_DEVICE}), 0.0)
    replica.on_update(two.change({1: TIER_DEVICE}), 0.0)
    assert replica.sources == 2
    replica.on_standing(standing(two), 0.0)
    assert replica.sources == 1
    replica.on_standing(standing(), 0.0)
    assert held(replica) is None
    assert held(replica, rank=1) is None


def test_copies_outlive_their_control_plane_for_a_while() -> None:
    replica, one, two = Replica(Random(1)), Truth(rank=0), Truth(rank=1)
    for truth in (one, two):
        replica.on_standing(standing(one, two), 0.0)
        replica.on_update(truth.change({1: TIER_DEVICE}), 0.0)
    later = Stamp(2, 1, 0)
    unknown, begun = KvStanding(later, ()), KvStanding(later, (KvSourceState("w", 0, 1, 0, 0, 0),))
    # The next one has to find the engines, and then to hear what they hold.
    replica.on_standing(unknown, 100.0)
    replica.on_standing(begun, 101.0)
    assert held(replica, rank=0) == held(replica, rank=1) == {1: TIER_DEVICE}
    state = KvSourceState("w", 0, 1, 1, 16, 1)
    replica.on_update(KvUpdate(later, state, pack([7]), bytes([TIER_DEVICE])), 102.0)
    assert held(replica, rank=0) == {7: TIER_DEVICE}
    replica.on_standing(KvStanding(later, (state,)), 100.0 + GRACE)
    assert held(replica, rank=0) == {7: TIER_DEVICE}
    assert held(replica, rank=1) is None


def test_an_engine_that_stays_empty_is_believed_in_the_end() -> None:
    replica, truth = Replica(Random(1)), Truth()
    replica.on_update(truth.change({1: TIER_DEVICE}), 0.0)
    begun = KvStanding(Stamp(2, 1, 0), (KvSourceState("w", 0, 1, 0, 0, 0),))
    replica.on_standing(begun, 0.0)
    assert held(replica) == {1: TIER_DEVICE}
    replica.on_standing(begun, GRACE)
    assert held(replica) == {}


def test_one_source_is_asked_for_at_a_time() -> None:
    replica = Replica(Random(1))
    truths = [Truth(f"w{number}") for number in range(3)]
    for truth in truths:
        truth.change({1: TIER_DEVICE})
    replica.on_standing(standing(*truths), 0.0)
    asks = [asked(replica, 0.0)]
    for truth in truths:
        [ask] = asks
        assert ask.worker == truth.worker
        assert replica.on_tick(0.5) == []
        asks = [ask for page in truth.pages(ask.request_id) for ask in replica.on_page(page, 0.5)]
    assert (asks, replica.sources) == ([], 3)


def test_a_request_without_an_answer_is_made_again_after_the_others() -> None:
    replica, one, two = Replica(Random(1)), Truth("a"), Truth("b")
    for truth in (one, two):
        truth.change({1: TIER_DEVICE})
    replica.on_standing(standing(one, two), 0.0)
    first = asked(replica, 0.0)
    assert first.worker == "a"
    assert replica.on_tick(REQUEST_TIMEOUT / 2) == []
    assert replica.on_tick(REQUEST_TIMEOUT + JITTER) == []
    assert asked(replica, REQUEST_TIMEOUT + JITTER).worker == "b"
    # What comes too late is of no use.
    for page in one.pages(first.request_id):
        replica.on_page(page, 2 * REQUEST_TIMEOUT)
    assert replica.sources == 0


def test_a_request_that_finds_nobody_waits() -> None:
    replica, truth = Replica(Random(1)), Truth()
    truth.change({1: TIER_DEVICE})
    replica.on_standing(standing(truth), 0.0)
    replica.on_unsent(asked(replica, 0.0).request_id, 5.0)
    assert replica.next_tick() == 5.0 + REQUEST_TIMEOUT


def test_a_page_that_is_missing_begins_the_request_anew() -> None:
    replica, truth = Replica(Random(1)), Truth()
    truth.change({1: TIER_DEVICE, 2: TIER_DEVICE, 3: TIER_DEVICE})
    replica.on_standing(standing(truth), 0.0)
    one, _, three = truth.pages(asked(replica, 0.0).request_id, size=1)
    replica.on_page(one, 0.0)
    replica.on_page(three, 0.0)
    while replica.next_tick() == 0.0:
        replica.on_tick(0.0)
    assert (replica.next_tick() or 0.0) <= JITTER
    for page in truth.pages(asked(replica, 0.1).request_id, size=1):
        replica.on_page(page, 0.1)
    assert held(replica) == truth.held


def test_what_does_not_fit_together_is_counted_and_asked_for() -> None:
    replica, truth = Replica(Random(1)), Truth()
    good = truth.change({1: TIER_DEVICE})
    for keys, tiers in ((good.keys, b""), (b"123", b"\1"), (good.keys, b"\x09")):
        replica.on_update(KvUpdate(STAMP, good.state, keys, tiers), 0.0)
    assert replica.malformed == 3
    for page in truth.pages(asked(replica, 0.0).request_id):
        replica.on_page(page, 0.0)
    assert held(replica) == truth.held


def test_updates_kept_for_an_answer_are_bounded() -> None:
    replica, truth = Replica(Random(1)), Truth()
    truth.change({0: TIER_DEVICE})
    replica.on_standing(standing(truth), 0.0)
    pages = truth.pages(asked(replica, 0.0).request_id)
    for key in range(BUFFER_LIMIT + 10):
        replica.on_update(truth.change({key: TIER_DEVICE}), 0.0)
    for page in pages:
        replica.on_page(page, 0.0)
    assert replica._copies["w", 0].seq == 1 + BUFFER_LIMIT
    replica.on_standing(standing(truth), 0.0)
    for page in truth.pages(asked(replica, 0.0).request_id):
        replica.on_page(page, 0.0)
    assert held(replica) == truth.held


CHANGES = st.dictionaries(st.integers(0, 6), st.integers(TIER_NONE, TIER_DISK), min_size=1, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 1), CHANGES, st.integers(0, 2)),
        st.tuples(st.just("purge"), st.integers(0, 1), st.none(), st.just(1)),
        st.tuples(st.just("standing"), st.none(), st.none(), st.integers(0, 1)),
        st.tuples(st.just("answer"), st.none(), st.none(), st.integers(0, 2)),
        st.tuples(st.just("time"), st.none(), st.none(), st.just(1)),
    ),
    max_size=40,
)


@given(STEPS, st.randoms(use_true_random=False))
def test_every_history_converges(steps: list[tuple[str, int | None, dict[int, int] | None, int]], rng: Random) -> None:
    """G-KV-3: messages lost and doubled, answers lost in part: in the end each copy is what its engine holds."""
    replica, truths = Replica(rng), [Truth("a"), Truth("b")]
    now, asks = 0.0, list[Ask]()

    def answer(times: int) -> None:
        while asks:
            ask = asks.pop()
            truth = next(truth for truth in truths if truth.worker == ask.worker)
            for number, page in enumerate(truth.pages(ask.request_id, size=2)):
                for _ in range(times if number else 1):
                    asks.extend(replica.on_page(page, now))

    for kind, which, changes, times in steps:
        now += 0.3
        match kind:
            case "change":
                assert which is not None
                assert changes is not None
                update = truths[which].change(changes)
                for _ in range(times):
                    asks.extend(replica.on_update(update, now))
            case "purge":
                assert which is not None
                truths[which].purge()
            case "standing":
                for _ in range(times):
                    asks.extend(replica.on_standing(standing(*truths), now))
            case "answer":
                answer(times)
            case _:
                asks.extend(replica.on_tick(now))
    asks.extend(replica.on_standing(standing(*truths), now))
    for _ in range(1000):
        due = replica.next_tick()
        if due is not None:
            now = max(now, due)
            asks.extend(replica.on_tick(now))
        answer(1)
    assert replica.next_tick() is None
    for truth in truths:
        assert held(replica, truth.worker) == truth.held
    # What dropped copies held is swept out, and their bits serve others.
    assert len(replica.holders) == len({key for truth in truths for key in truth.held})
    # A message drops a copy and begins another one at most, each time that it comes.
    assert replica._used_bits <= 2 * (1 + len(truths) + len(steps))
