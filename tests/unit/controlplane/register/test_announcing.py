"""What is announced, and when: no socket, no clock."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.kv_events.sources import Endpoint
from controlplane.register.announcing import EARLIEST, Course, announcement, doubts
from controlplane.register.facts import Facts
from controlplane.register.given import Given
from shared.registration import Announcement, FromEngine, Goodbye, Hello, KvSource, Ping, encode_registration
from shared.transfer import Transfer

URL = "http://10.0.0.5:8000"
TOLD = Facts(
    models=("m",),
    version="0.32.0",
    process_start=100.5,
    ranks=1,
    role="prefill",
    connector="nixl",
    dp_size=1,
    tp_size=2,
    kv_events=(),
)


def course(given: Given = Given(), url: str = URL) -> Course:  # noqa: B008 - frozen
    return Course(given, url, "r", lambda low, high: high)


def test_what_the_engine_tells_is_announced() -> None:
    said = course().seen(TOLD, now=0.0, wall=1000.0)
    assert said == Hello(
        registrar="r",
        seq=1,
        url=URL,
        ask=True,
        epoch=100_500,
        role="prefill",
        models=("m",),
        version="0.32.0",
        process_start=100.5,
        ranks=1,
        transfer=Transfer(connector="nixl", dp_size=1, tp_size=2),
        kv_events=(),
    )


def test_the_operators_word_counts_over_the_engines() -> None:
    given = Given(
        interval=1.0,
        role="decode",
        models=("n",),
        ranks=4,
        connector="moriio",
        address="host:10.0.0.5,handshake:6301,notify:61005",
        mode="write",
        bootstrap_port=1,
        dp_size=4,
        tp_size=8,
        labels={"zone": "a"},
        weight=2.0,
        capacity=64.0,
        priority=7,
    )
    said = announcement(given, TOLD, URL, 1)
    for name in ("interval", "role", "models", "ranks", "labels", "weight", "capacity", "priority"):
        assert getattr(said, name) == getattr(given, name), name
    assert said.transfer is not None
    for name in ("connector", "address", "mode", "bootstrap_port", "dp_size", "tp_size"):
        assert getattr(said.transfer, name) == getattr(given, name), name


def test_what_nobody_knows_is_left_out() -> None:
    said = announcement(Given(), Facts(), URL, 1)
    assert said == Announcement(registrar="", seq=0, url=URL, epoch=1)


def test_only_kv_events_that_others_reach_are_announced() -> None:
    here, there = "tcp://127.0.0.1:5557", "tcp://10.0.0.5:5558"
    told = Facts(kv_events=(Endpoint(0, there, here, "kv"), Endpoint(1, here, None)))
    assert announcement(Given(), told, URL, 1).kv_events == (KvSource(endpoint=there, topic="kv"),)
    both = announcement(Given(), told, "http://127.0.0.1:8000", 1).kv_events
    assert both == (KvSource(endpoint=there, replay=here, topic="kv"), KvSource(rank=1, endpoint=here))


def test_pings_come_when_they_are_due_and_say_everything() -> None:
    one = course(Given(interval=2.0))
    assert one.ping(now=0.0) is None
    hello = one.seen(TOLD, now=0.0, wall=1.0)
    assert hello is not None
    assert one.seen(TOLD, now=0.5, wall=1.0) is None
    assert (one.ping(now=1.9), one.pause(now=1.5)) == (None, 0.5)
    ping = one.ping(now=2.0)
    assert ping == Ping(**{**msgspec.structs.asdict(hello), "seq": 2})
    assert one.ping(now=3.9) is None
    assert one.pause(now=5.0) == 0.0


def test_pings_are_spread_and_never_later_than_was_said() -> None:
    asked: list[tuple[float, float]] = []

    def jitter(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    one = Course(Given(interval=10.0), URL, "r", jitter)
    one.seen(TOLD, now=0.0, wall=1.0)
    assert asked == [(EARLIEST, 1.0)]
    assert one.ping(now=10.0 * EARLIEST) is not None


def test_a_change_is_said_at_once() -> None:
    one = course()
    one.seen(TOLD, now=0.0, wall=1.0)
    changed = one.seen(msgspec.structs.replace(TOLD, models=("m", "adapter")), now=1.0, wall=2.0)
    assert changed is not None
    assert (changed.models, changed.epoch, changed.seq) == (("m", "adapter"), 100_500, 2)


def test_another_start_is_another_life() -> None:
    one = course()
    one.seen(TOLD, now=0.0, wall=1.0)
    said = one.seen(msgspec.structs.replace(TOLD, process_start=200.0), now=1.0, wall=2.0)
    assert said is not None
    assert said.epoch == 200_000


def test_where_the_start_is_not_told_a_life_begins_when_the_engine_comes_up() -> None:
    one, silent = course(), msgspec.structs.replace(TOLD, process_start=None)
    first = one.seen(silent, now=0.0, wall=10.0)
    assert first is not None
    assert first.epoch == 10_000
    assert one.seen(silent, now=1.0, wall=11.0) is None
    assert one.gone("refused") is not None
    again = one.seen(silent, now=2.0, wall=12.0)
    assert again is not None
    assert again.epoch == 12_000


def test_a_goodbye_is_said_once_and_only_by_who_was_announced() -> None:
    one = course()
    assert one.gone("SIGTERM") is None
    assert one.hello() is None
    one.seen(TOLD, now=0.0, wall=1.0)
    assert one.gone("SIGTERM") == Goodbye(registrar="r", seq=2, url=URL, ask=True, reason="SIGTERM")
    assert one.gone("SIGTERM") is None
    assert one.ping(now=100.0) is None


def test_a_router_that_comes_back_again_and_again_holds_no_ping_up() -> None:
    """A greeting goes to one router; the others wait for their pings all the same."""
    one = course(Given(interval=3.0))
    one.seen(TOLD, now=0.0, wall=1.0)
    assert one.hello() is not None
    assert one.ping(now=3.0) is not None


def test_doubts_are_told() -> None:
    assert doubts(Given(), TOLD) == []
    assert "--role prefill or --role decode" in doubts(Given(connector="nixl"), Facts())[0]
    assert doubts(Given(role="decode"), TOLD) == ["--role is decode, and the engine says prefill; the flag counts"]
    for connector, known in (("nccl", Given(address="10.0.0.5:1")), ("moriio", Given(address="a", mode="read"))):
        given = msgspec.structs.replace(known, role="prefill", connector=connector)
        assert doubts(given, Facts()) == []
        assert "--address" in doubts(Given(role="prefill", connector=connector), Facts())[0]
    assert "--model names x, y" in doubts(Given(models=("y", "x", "m")), TOLD)[0]


EVENTS = st.one_of(
    st.tuples(st.just("seen"), st.sampled_from([None, 1.0, 2.0]), st.sampled_from([("a",), ("b",)])),
    st.sampled_from([("gone", None, None), ("ping", None, None), ("greet", None, None)]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.floats(0, 5)), max_size=25))
def test_any_history_can_be_followed(
    history: Sequence[tuple[tuple[str, float | None, tuple[str, ...] | None], float]],
) -> None:
    """Numbers go up, nothing is said of an engine that is gone, and whoever heard all knows how it is."""
    one, now = course(), 0.0
    heard: list[FromEngine] = []
    is_there: tuple[str, ...] | None = None
    for (kind, start, models), pause in history:
        now += pause
        said: FromEngine | None
        if kind == "seen":
            said, is_there = one.seen(Facts(process_start=start, models=models), now=now, wall=now), models
        elif kind == "gone":
            said, is_there = one.gone("refused"), None
        else:
            said = one.ping(now=now) if kind == "ping" else one.hello()
            assert said is None or is_there is not None
        if said is not None:
            encode_registration(said)
            heard.append(said)
        last = heard[-1] if heard else None
        assert (last.models if isinstance(last, Announcement) else None) == is_there
        assert one.is_announced == (is_there is not None)
    assert [message.seq for message in heard] == list(range(1, len(heard) + 1))
