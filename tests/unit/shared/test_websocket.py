"""WebSocket frames: what is written is read again however it is cut up, and what may not come is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.websocket import (
    BINARY,
    CLOSE,
    INTERNAL_ERROR,
    NO_STATUS,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    FrameError,
    Message,
    Reader,
    accept_of,
    close_of,
    close_payload,
    encode,
    masked,
    new_key,
)

MESSAGES = st.lists(
    st.tuples(st.sampled_from([TEXT, BINARY]), st.binary(max_size=70_000) | st.binary(max_size=130))
    | st.tuples(st.just(PING), st.binary(max_size=125)),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(messages=MESSAGES, mask=st.none() | st.binary(min_size=4, max_size=4), cut=st.integers(1, 5000))
def test_what_is_written_is_read_however_it_is_cut_up(
    messages: list[tuple[int, bytes]], mask: bytes | None, cut: int
) -> None:
    wire = b"".join(encode(opcode, payload, mask=mask) for opcode, payload in messages)
    reader = Reader(masked=mask is not None, most=70_000)
    read = [message for at in range(0, len(wire), cut) for message in reader.feed(wire[at : at + cut])]
    assert read == messages


def test_the_handshake_of_the_rfc() -> None:
    assert accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert len(new_key()) == 24
    assert new_key() != new_key()


def test_the_frames_of_the_rfc() -> None:
    assert encode(TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert encode(TEXT, b"Hello", mask=bytes.fromhex("37fa213d")) == bytes.fromhex("818537fa213d7f9f4d5158")
    parts = bytes.fromhex("010348656c") + bytes.fromhex("8900") + bytes.fromhex("80026c6f")
    assert list(Reader(masked=False, most=5).feed(parts)) == [Message(PING, b""), Message(TEXT, b"Hello")]


@given(data=st.binary(max_size=40), mask=st.binary(min_size=4, max_size=4))
def test_a_mask_comes_off_as_it_goes_on(data: bytes, mask: bytes) -> None:
    assert masked(masked(data, mask), mask) == data


@pytest.mark.parametrize(
    ("wire", "from_client", "code"),
    [
        ("8105", True, PROTOCOL_ERROR),
        ("818537fa213d", False, PROTOCOL_ERROR),
        ("c100", False, PROTOCOL_ERROR),
        ("8300", False, PROTOCOL_ERROR),
        ("0900", False, PROTOCOL_ERROR),
        ("897e0080", False, PROTOCOL_ERROR),
        ("8000", False, PROTOCOL_ERROR),
        ("01008100", False, PROTOCOL_ERROR),
        ("827e0011", False, TOO_BIG),
        ("827fffffffffffffffff", False, TOO_BIG),
        ("020a00000000000000000000800a", False, TOO_BIG),
    ],
)
def test_what_may_not_come_is_refused_before_it_is_held(wire: str, from_client: bool, code: int) -> None:
    with pytest.raises(FrameError) as caught:
        list(Reader(masked=from_client, most=16).feed(bytes.fromhex(wire)))
    assert caught.value.code == code


@given(st.binary(max_size=60))
def test_any_bytes_are_messages_or_a_frame_error(data: bytes) -> None:
    reader = Reader(masked=False, most=30)
    try:
        for message in reader.feed(data):
            assert len(message.payload) <= 125
    except FrameError:
        pass


@pytest.mark.parametrize(("code", "reason"), [(NORMAL, "bye"), (INTERNAL_ERROR, "\u00e4" * 61), (NO_STATUS, "")])
def test_a_close_frame_says_why(code: int, reason: str) -> None:
    payload = close_payload(code, reason)
    assert len(encode(CLOSE, payload)) <= 127
    assert close_of(payload) == (code, reason)


def test_a_long_reason_is_cut_between_characters() -> None:
    assert close_of(close_payload(NORMAL, "\u00e4" * 100)) == (NORMAL, "\u00e4" * 61)


@pytest.mark.parametrize("payload", [b"\x03", b"\x00\x00", b"\x03\xed", b"\x03\xee", b"\x03\xf7", b"\x03\xe8\xff"])
def test_a_close_frame_with_a_code_that_may_not_be_sent_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        close_of(payload)
