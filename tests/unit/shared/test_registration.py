"""The frame of a registration: the documented bytes, what comes back as it was sent, and that nothing else comes in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.registration import (
    MAX_FRAME,
    MAX_NUMBER,
    VERSION,
    Accepted,
    Announcement,
    FromEngine,
    FromRouter,
    Goodbye,
    Hello,
    KvSource,
    Ping,
    Refused,
    RegistrationError,
    decode_from_engine,
    decode_from_router,
    encode_registration,
    is_registration,
)
from shared.transfer import Transfer

DOCUMENT = Path(__file__).parents[3] / "docs" / "registration.md"

EXAMPLE = Hello(
    registrar="9f2c51d07ab34e18",
    seq=1,
    url="http://10.0.0.5:8000",
    ask=True,
    epoch=1763730295120,
    role="prefill",
    models=("Qwen/Qwen3-8B",),
    version="0.32.0",
    transfer=Transfer(connector="nixl"),
    labels={"zone": "a"},
    capacity=64.0,
)
"""The one that docs/registration.md writes out."""

FULL = Ping(
    registrar="a",
    seq=MAX_NUMBER,
    url="https://ä.example:443",
    epoch=0,
    interval=0.5,
    role="decode",
    models=("a", "b/c"),
    version="0.32.1.dev3+g12",
    process_start=1763730295.12,
    ranks=8,
    transfer=Transfer(
        connector="mooncake",
        address="10.0.0.5,handshake:6301,notify:61005",
        mode="write",
        bootstrap_port=8998,
        engine_ids={"0": "uuid", "1": ""},
        dp_size=2,
        tp_size=4,
    ),
    kv_events=(
        KvSource(endpoint="tcp://10.0.0.5:5557", replay="tcp://[::1]:5558", topic="kv"),
        KvSource(rank=7, endpoint="tcp://h:1"),
    ),
    labels={"zone": "a", "gpu/kind": ""},
    weight=0.0,
    capacity=0.5,
    priority=0,
)

FROM_ENGINE: tuple[FromEngine, ...] = (
    EXAMPLE,
    FULL,
    Ping(registrar="x", seq=0, url="http://h:1", epoch=1),
    Goodbye(registrar="x", seq=2, url="http://h:1", reason="SIGTERM"),
)
FROM_ROUTER: tuple[FromRouter, ...] = (Accepted(seq=1), Refused(seq=0, reason="not from 10.0.0.0/8"))


def frame(**fields: Any) -> bytes:
    """A frame that is right but for what is given; None leaves a field out."""
    body: dict[str, Any] = {"type": "hello", "registrar": "r", "seq": 1, "url": "http://h:1", "epoch": 1, **fields}
    return bytes((0x92, VERSION)) + msgspec.msgpack.encode({k: v for k, v in body.items() if v is not None})


@pytest.mark.parametrize("message", FROM_ENGINE)
def test_what_an_engine_sends_comes_back(message: FromEngine) -> None:
    sent = encode_registration(message)
    assert is_registration(sent)
    assert decode_from_engine(sent) == message


@pytest.mark.parametrize("message", FROM_ROUTER)
def test_what_a_router_answers_comes_back(message: FromRouter) -> None:
    assert decode_from_router(encode_registration(message)) == message


def test_the_document_shows_the_bytes_of_its_example() -> None:
    blocks = re.findall(r"```hex\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    hello, ping, goodbye, accepted, refused = (
        bytes.fromhex("".join(line.partition("#")[0] for line in block.splitlines())) for block in blocks
    )
    assert decode_from_engine(hello) == EXAMPLE
    assert encode_registration(EXAMPLE) == hello
    assert decode_from_engine(ping) == Ping(registrar="r1", seq=2, url="http://h:1", epoch=7)
    assert decode_from_engine(goodbye) == Goodbye(registrar="r1", seq=3, url="http://h:1", reason="SIGTERM")
    assert decode_from_router(accepted) == Accepted(seq=2)
    assert decode_from_router(refused) == Refused(seq=0, reason="no key")


def test_every_field_is_in_the_document() -> None:
    text = DOCUMENT.read_text()
    for struct in (Hello, Goodbye, Accepted, Refused, KvSource, Transfer):
        for name in struct.__struct_fields__:
            assert re.search(rf"^\| `{name}` \|", text, re.MULTILINE), name


def test_unknown_keys_are_ignored() -> None:
    plain = decode_from_engine(frame())
    assert decode_from_engine(frame(colour={"deep": [1, 2.5, None]}, transfer={"lanes": 4})) == msgspec.structs.replace(
        plain, transfer=Transfer()
    )


def test_whole_numbers_are_taken_for_fractions() -> None:
    """Others' msgpack libraries write 64 where a float has no fraction."""
    found = decode_from_engine(frame(capacity=64, interval=3, process_start=1))
    assert isinstance(found, Announcement)
    assert (found.capacity, found.interval, found.process_start) == (64.0, 3.0, 1.0)


@pytest.mark.parametrize("version", [0, 1, 3, 127, 255])
def test_another_version_is_refused_by_its_name(version: int) -> None:
    sent = bytes((0x92, version)) + frame()[2:]
    assert is_registration(sent)
    with pytest.raises(RegistrationError, match=rf"version {version} .* send version 2"):
        decode_from_engine(sent)


def test_frames_of_vllm_are_no_registrations() -> None:
    ping = msgspec.msgpack.encode({"type": "P", "http_address": "h:1", "zmq_address": "h:2"})
    assert not is_registration(ping)
    assert not is_registration(b"")
    with pytest.raises(RegistrationError, match="0x92"):
        decode_from_engine(ping)


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "bye"}, "not readable"),
    ({"type": None}, "not readable"),
    ({"registrar": None}, "not readable"),
    ({"seq": "1"}, "not readable"),
    ({"seq": -1}, "seq is -1"),
    ({"seq": 2**64 - 1}, "seq is"),
    ({"seq": True}, "not readable"),
    ({"registrar": ""}, "registrar"),
    ({"registrar": "a b"}, "registrar"),
    ({"registrar": "r" * 65}, "registrar"),
    ({"url": "h:1"}, "url"),
    ({"url": "http://user:secret@h:1"}, "url"),
    ({"url": "http://h:1/path"}, "url"),
    ({"url": "http://h\n:1"}, "url"),
    ({"epoch": None}, "not readable"),
    ({"epoch": -1}, "epoch"),
    ({"interval": 0}, "interval is 0"),
    ({"interval": float("nan")}, "interval is nan"),
    ({"interval": float("inf")}, "interval is inf"),
    ({"process_start": float("nan")}, "process_start"),
    ({"role": "both"}, "not readable"),
    ({"models": "m"}, "not readable"),
    ({"models": [""]}, "empty"),
    ({"models": ["m\n"]}, "models"),
    ({"models": ["m" * 513]}, "models"),
    ({"models": ["m"] * 1025}, "models has 1025"),
    ({"version": "0" * 65}, "version"),
    ({"ranks": 0}, "ranks"),
    ({"ranks": 1025}, "ranks"),
    ({"labels": {"a b": ""}}, "labels"),
    ({"labels": {"a": 1}}, "not readable"),
    ({"weight": -1}, "weight"),
    ({"capacity": float("nan")}, "capacity"),
    ({"priority": 2**32}, "priority"),
    ({"transfer": {"connector": "a b"}}, "connector"),
    ({"transfer": {"mode": "READ"}}, "not readable"),
    ({"transfer": {"address": "a\x00"}}, "address"),
    ({"transfer": {"bootstrap_port": 0}}, "bootstrap_port"),
    ({"transfer": {"bootstrap_port": 65536}}, "bootstrap_port"),
    ({"transfer": {"dp_size": 0}}, "dp_size"),
    ({"transfer": {"engine_ids": {"x": "e"}}}, "engine_ids"),
    ({"transfer": {"engine_ids": {"²": "e"}}}, "engine_ids"),
    ({"transfer": {"engine_ids": {"0": "e" * 257}}}, "engine_ids"),
    ({"kv_events": [{"endpoint": "ipc:///tmp/x"}]}, "kv_events"),
    ({"kv_events": [{"endpoint": "tcp://h:1", "replay": "tcp://h"}]}, "kv_events"),
    ({"kv_events": [{"endpoint": "tcp://h:1\n"}]}, "kv_events"),
    ({"kv_events": [{"endpoint": "tcp://h:1", "rank": 1024}]}, "kv_events"),
    ({"kv_events": [{"endpoint": "tcp://h:1"}, {"endpoint": "tcp://h:2"}]}, "twice"),
    ({"type": "goodbye", "reason": "r" * 257}, "reason"),
)


@pytest.mark.parametrize(("fields", "fault"), WRONG)
def test_what_does_not_fit_is_refused_with_what_was_wrong(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(RegistrationError, match=fault) as caught:
        decode_from_engine(frame(**fields))
    text = str(caught.value)
    assert len(text) <= 300
    assert text.isprintable()
    assert "secret" not in text


def test_what_would_be_refused_is_not_sent() -> None:
    with pytest.raises(RegistrationError, match="ranks is 0"):
        encode_registration(msgspec.structs.replace(EXAMPLE, ranks=0))
    with pytest.raises(RegistrationError, match="16384 is the most; announce fewer"):
        encode_registration(msgspec.structs.replace(EXAMPLE, models=tuple(f"{n:0500}" for n in range(40))))


def test_frames_are_bounded_and_end_where_they_end() -> None:
    assert decode_from_engine(frame(padding="x" * (MAX_FRAME - 100)))
    for wrong in (
        frame(padding="x" * MAX_FRAME),
        frame() + b"\x00",
        frame()[:-1],
        frame(deep=b"")[:2] + b"\x91" * 9000,
    ):
        with pytest.raises(RegistrationError):
            decode_from_engine(wrong)


def _answer_or_fault(sent: bytes) -> None:
    for decode in (decode_from_engine, decode_from_router):
        text = ""
        try:
            decode(sent)
        except RegistrationError as error:
            text = str(error)
        assert len(text) <= 300
        assert text.isprintable()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64))
@example(b"\x92\x02\x81\xa4type\xdb\xff\xff\xff\xff")
@example(b"\x92\x02\xdf\xff\xff\xff\xff")
@example(b"\x92\x02\x81\xa6models\xdd\xff\xff\xff\xff")
@example(b"\x92\x02\x82\xa4type\xa4ping\xa6models\x92\xa1a\xc1")
def test_garbage_raises_the_documented_error_alone(body: bytes) -> None:
    """G-DISC-2."""
    _answer_or_fault(body)
    _answer_or_fault(b"\x92\x02" + body)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FROM_ENGINE + FROM_ROUTER), st.data())
def test_damaged_frames_raise_the_documented_error_alone(message: FromEngine | FromRouter, data: st.DataObject) -> None:
    """G-DISC-2."""
    sent = bytearray(encode_registration(message))
    for at in data.draw(st.lists(st.integers(0, len(sent) - 1), max_size=4)):
        sent[at] = data.draw(st.integers(0, 255))
    _answer_or_fault(bytes(sent[: data.draw(st.integers(0, len(sent)))]))
    _answer_or_fault(bytes(sent))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(Hello.__struct_fields__), VALUES, max_size=6))
def test_values_of_any_kind_raise_the_documented_error_alone(fields: dict[str, Any]) -> None:
    """G-DISC-2."""
    _answer_or_fault(frame(**fields))
    _answer_or_fault(frame(type="refused", **fields))
