from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.discovery.refusals import RefusedError
from controlplane.discovery.zmtp import GREETING, MAX_FRAME, READY, ZmtpConnection

# Of libzmq 4.3.5's DEALER with an identity.
PEER_GREETING = b"\xff" + b"\0" * 7 + b"\x01\x7f\x03\x01NULL" + b"\0" * 48
PEER_READY = b"\x04\x2a\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x01x"
HANDSHAKE = PEER_GREETING + PEER_READY


def read(data: bytes, step: int | None = None) -> tuple[list[bytes], ZmtpConnection]:
    """Return the messages of what a peer sends, in pieces of `step` bytes."""
    connection, found = ZmtpConnection(), []
    size = step or max(1, len(data))
    for at in range(0, len(data), size):
        connection.add(data[at : at + size])
        while (message := connection.message()) is not None:
            found.append(message)
    return found, connection


def reason(data: bytes) -> str:
    with pytest.raises(RefusedError) as caught:
        read(data)
    assert str(caught.value).isprintable()
    return caught.value.reason


def short(body: bytes, flags: int = 0) -> bytes:
    return bytes((flags, len(body))) + body


def long(body: bytes, flags: int = 0) -> bytes:
    return bytes((flags | 2,)) + len(body).to_bytes(8, "big") + body


def test_our_greeting_has_the_length_of_one() -> None:
    assert len(GREETING) == 64
    assert READY[1] == len(READY) - 2


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=300), max_size=3), st.integers(1, 400))
def test_messages_come_out_whole_however_they_come_in(bodies: list[bytes], step: int) -> None:
    data = HANDSHAKE + b"".join(short(body) if len(body) < 256 else long(body) for body in bodies)
    found, connection = read(data, step)
    assert found == bodies
    assert connection.is_ready
    assert connection.outgoing == READY
    assert len(connection) == 0


def test_a_req_gets_its_answer_behind_an_empty_frame_and_a_dealer_without() -> None:
    found, connection = read(HANDSHAKE + short(b"", 1) + short(b"one"))
    assert found == [b"one"]
    connection.outgoing.clear()
    connection.answer(b"yes")
    assert connection.outgoing == short(b"", 1) + short(b"yes")
    found, connection = read(HANDSHAKE + short(b"one"))
    connection.outgoing.clear()
    connection.answer(b"y" * 300)
    assert connection.outgoing == long(b"y" * 300)


def test_a_ping_is_answered_with_its_context() -> None:
    _, connection = read(HANDSHAKE + short(b"\x04PING\x00\x0ahere", 4))
    assert connection.outgoing == READY + short(b"\x04PONGhere", 4)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "protocol"),
        (b"\xff" + b"\0" * 8 + b"\x7e", "protocol"),
        (PEER_GREETING[:10] + b"\x01" + b"\0" * 60, "protocol"),
        (PEER_GREETING.replace(b"NULL\0", b"CURVE"), "protocol"),
        (PEER_GREETING + short(b"early"), "protocol"),
        (PEER_GREETING + short(b"\x05ERROR\x00", 4), "protocol"),
        (PEER_GREETING + PEER_READY.replace(b"DEALER", b"PUSHER"), "protocol"),
        (PEER_GREETING + short(b"\x05READY\x0bSocket-Type\0\0\xff\xff", 4), "protocol"),
        (PEER_GREETING + short(b"\x05READY\xff", 4), "protocol"),
        (HANDSHAKE + short(b"a", 1) + short(b"b"), "protocol"),
        (HANDSHAKE + short(b"", 1) + short(b"", 1), "protocol"),
        (HANDSHAKE + b"\x08\x00", "protocol"),
        (HANDSHAKE + b"\x02" + (MAX_FRAME + 1).to_bytes(8, "big"), "oversized"),
        (HANDSHAKE + b"\x02" + b"\xff" * 8, "oversized"),
        (HANDSHAKE + short(b"\x04PING\0\0", 4) * 20, "excess"),
    ],
)
def test_what_is_no_registration_is_refused_as_soon_as_it_is_seen(data: bytes, expected: str) -> None:
    assert reason(data) == expected


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"", PEER_GREETING, HANDSHAKE]), st.integers(1, 50))
def test_whatever_comes_is_read_or_refused(noise: bytes, before: bytes, step: int) -> None:
    try:
        found, _ = read(before + noise, step)
    except RefusedError:
        return
    assert sum(map(len, found)) <= len(noise)
