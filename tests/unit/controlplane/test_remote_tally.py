import zmq
from hypothesis import given
from hypothesis import strategies as st

from controlplane.remote_tally import Tally

OUTCOMES = ("let-in", "unknown-key", "no-key")


def test_what_is_left_over_was_refused() -> None:
    tally = Tally()
    for _ in range(5):
        tally.take(zmq.EVENT_ACCEPTED)
    tally.take(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    tally.unknown_key += 1
    for _ in range(3):
        tally.take(zmq.EVENT_DISCONNECTED)
    # Those of this tick may still prove who they are.
    assert tally.tick() == 0
    assert tally.tick() == 3
    assert (tally.let_in, tally.unknown_key, tally.no_key, tally.open) == (1, 1, 3, 2)
    tally.closed()
    assert tally.open == 0


@given(st.lists(st.lists(st.sampled_from(OUTCOMES), max_size=6), max_size=8))
def test_each_connection_counts_once_and_no_count_falls(rounds: list[list[str]]) -> None:
    """Each round's connections are decided before the next tick, as handshakes are shorter than ticks."""
    tally, before = Tally(), 0
    for outcomes in rounds:
        for _ in outcomes:
            tally.take(zmq.EVENT_ACCEPTED)
        for outcome in outcomes:
            if outcome == "let-in":
                tally.take(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            elif outcome == "unknown-key":
                tally.unknown_key += 1
            if outcome != "let-in":
                tally.take(zmq.EVENT_DISCONNECTED)
        tally.tick()
        assert tally.no_key >= before
        before = tally.no_key
    tally.tick()
    tally.tick()
    told = [outcome for outcomes in rounds for outcome in outcomes]
    assert [tally.let_in, tally.unknown_key, tally.no_key] == [told.count(outcome) for outcome in OUTCOMES]
    assert tally.open == told.count("let-in")
