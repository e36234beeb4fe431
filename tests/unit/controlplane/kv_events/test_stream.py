"""A publisher's messages, as they are lost, late, doubled and begun anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from controlplane.kv_events.decode import Batch
from controlplane.kv_events.stream import MAX_WAITING, Action, Apply, Purge, Replay, Stream


def at(number: int, life: int = 0) -> Batch:
    """Message `number` of an engine's `life`: the time says which one it is."""
    return Batch(life * 1000.0 + number, ())


def applied(actions: Iterable[Action]) -> list[float]:
    return [action.batch.ts for action in actions if isinstance(action, Apply)]


def fed(stream: Stream, numbers: Iterable[int], life: int = 0) -> list[Action]:
    return [action for number in numbers for action in stream.live(number, at(number, life))]


def answered(stream: Stream, numbers: Iterable[int], life: int = 0, *, complete: bool = True) -> list[Action]:
    actions = [action for number in numbers for action in stream.replayed(number, at(number, life))]
    return actions + stream.replay_ended(complete=complete)


def started(numbers: Sequence[int] = ()) -> Stream:
    """A stream that has had these messages by its first replay."""
    stream = Stream(has_replay=True)
    assert stream.begin() == [Replay(0)]
    assert applied(answered(stream, numbers)) == [float(number) for number in numbers]
    return stream


def purges(actions: Iterable[Action]) -> int:
    return sum(isinstance(action, Purge) for action in actions)


def test_messages_in_order_are_applied() -> None:
    assert applied(fed(started([0, 1]), [2, 3])) == [2.0, 3.0]


def test_messages_wait_for_the_replay_that_is_under_way() -> None:
    stream = Stream(has_replay=True)
    stream.begin()
    assert fed(stream, [2, 3]) == []
    assert applied(answered(stream, [0, 1, 2])) == [0.0, 1.0, 2.0, 3.0]


def test_without_a_replay_socket_it_begins_anywhere() -> None:
    stream = Stream(has_replay=False)
    assert stream.begin() == []
    assert applied(fed(stream, [7, 8])) == [7.0, 8.0]


def test_a_gap_is_filled_by_a_replay() -> None:
    stream = started([0, 1])
    assert fed(stream, [4]) == [Replay(1)]
    actions = answered(stream, [1, 2, 3, 4])
    assert (applied(actions), purges(actions)) == ([2.0, 3.0, 4.0], 0)
    assert applied(fed(stream, [5])) == [5.0]


def test_a_replay_after_the_very_first_message_is_of_the_same_engine_too() -> None:
    stream = started([0])
    assert fed(stream, [2]) == [Replay(0)]
    actions = answered(stream, [1, 2], life=1)
    assert [type(action) for action in actions] == [Purge, Replay]
    assert applied(answered(stream, [1, 2], life=1)) == [1001.0, 1002.0]


def test_a_replay_that_does_not_bring_the_last_message_back_purges() -> None:
    """Its engine's buffer may begin at just the next number, and be another engine's."""
    stream = started([0, 1])
    assert fed(stream, [4]) == [Replay(1)]
    actions = answered(stream, [2, 3], life=1)
    assert [type(action) for action in actions] == [Purge, Replay]


def test_a_gap_without_a_replay_socket_purges() -> None:
    stream = Stream(has_replay=False)
    fed(stream, [0, 1])
    actions = fed(stream, [3])
    assert isinstance(actions[0], Purge)
    assert applied(actions) == [3.0]


def test_a_replay_that_does_not_answer_purges() -> None:
    stream = started([0, 1])
    fed(stream, [4])
    actions = answered(stream, [], complete=False)
    assert purges(actions) == 1
    assert applied(actions) == [4.0]


def test_a_replay_whose_buffer_is_too_short_purges_and_takes_all_there_is() -> None:
    stream = started([0, 1])
    fed(stream, [9])
    actions = answered(stream, [6, 7, 8, 9])
    assert [type(action) for action in actions] == [Purge, Replay]
    assert actions[1] == Replay(0)
    actions = answered(stream, [6, 7, 8, 9])
    assert (applied(actions), purges(actions)) == ([6.0, 7.0, 8.0, 9.0], 0)


def test_a_replay_of_another_life_purges() -> None:
    """Its engine was restarted and has published more than the one before: the numbers alone look like a gap."""
    stream = started([0, 1])
    fed(stream, [3], life=1)
    actions = answered(stream, [1, 2, 3], life=1)
    assert [type(action) for action in actions] == [Purge, Replay]
    assert applied(answered(stream, [0, 1, 2, 3], life=1)) == [1000.0, 1001.0, 1002.0, 1003.0]


def test_numbers_that_begin_anew_are_another_life() -> None:
    stream = started([0, 1, 2])
    actions = fed(stream, [0], life=1)
    assert isinstance(actions[0], Purge)
    assert applied(actions) == [1000.0]


def test_another_life_that_was_missed_in_part_is_replayed_from_its_beginning() -> None:
    stream = started([0, 1, 2])
    actions = fed(stream, [1], life=1)
    assert isinstance(actions[0], Purge)
    assert actions[1] == Replay(0)
    assert applied(answered(stream, [0, 1], life=1)) == [1000.0, 1001.0]


def test_messages_seen_before_are_dropped() -> None:
    assert fed(started([0, 1, 2]), [1, 2]) == []


def test_a_gap_that_opens_during_the_replay_purges() -> None:
    stream = Stream(has_replay=True)
    stream.begin()
    fed(stream, [5])
    actions = answered(stream, [0, 1])
    assert applied(actions) == [0.0, 1.0, 5.0]
    assert purges(actions) == 1


def test_what_waits_is_bounded() -> None:
    stream = Stream(has_replay=True)
    stream.begin()
    fed(stream, range(1, MAX_WAITING + 11))
    actions = answered(stream, [0])
    assert len(applied(actions)) == 1 + MAX_WAITING
    assert purges(actions) == 1


LIVES = st.lists(st.integers(1, 6), min_size=1, max_size=3)


@given(LIVES, st.integers(1, 8), st.booleans(), st.data())
def test_what_is_known_was_all_published_by_the_present_engine(
    lives: list[int], buffer: int, has_replay: bool, data: st.DataObject
) -> None:
    """G-KV-2: whatever is lost of a publisher's messages, what is applied since the last purge has no gap in it.

    Of an engine's first message it is told here, or by the worker's new epoch in the table: a stream whose numbers go
    on where the other engine's ended looks like one.
    """
    stream = Stream(has_replay=has_replay)
    known: list[float] = []
    pending: list[int] = []

    def perform(actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Apply(batch):
                    known.append(batch.ts)
                case Purge():
                    known.clear()
                case Replay(start):
                    pending[:] = [start]

    def answer(life: int, published: int) -> None:
        while pending:
            start = pending.pop()
            kept = range(max(start, published - buffer), published)
            for number in kept:
                perform(stream.replayed(number, at(number, life)))
            perform(stream.replay_ended(complete=data.draw(st.booleans())))

    perform(stream.begin())
    for life, count in enumerate(lives):
        for number in range(count):
            if number == 0 or data.draw(st.booleans()):
                perform(stream.live(number, at(number, life)))
            if data.draw(st.booleans()):
                answer(life, number + 1)
    answer(len(lives) - 1, lives[-1])
    # Two more that arrive, and a replay between them, show whatever was missed before.
    last = len(lives) - 1
    for number in (lives[-1], lives[-1] + 1):
        perform(stream.live(number, at(number, last)))
        answer(last, number + 1)
    numbers = [ts - last * 1000.0 for ts in known]
    assert numbers == [numbers[0] + step for step in range(len(numbers))]
    assert numbers[-1] == lives[-1] + 1
    assert min(known) >= last * 1000.0
