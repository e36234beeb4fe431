"""One upstream connection: where an answer ends, and whether the connection may be used again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataplane.upstream.connection import _MAX_HELD_CHUNK
from dataplane.upstream.framing import MAX_HEAD
from tests.unit.dataplane.upstream.fake_transport import Sink, Wire

OK = b"HTTP/1.1 200 OK\r\n"


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return OK + b"transfer-encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailers + b"\r\n"


def with_length(body: bytes, *, extra: bytes = b"") -> bytes:
    return OK + extra + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut at these places, modulo the length."""
    places = sorted({place % (len(data) + 1) for place in at} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


cuts = st.lists(st.integers(0, 10_000), max_size=12)
bodies = st.binary(max_size=200)
chunk_lists = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


# --- where an answer ends --------------------------------------------------------------------------------


@given(bodies, cuts)
def test_an_answer_of_known_length(body: bytes, at: list[int]) -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(*cut(with_length(body), at))
    assert sink.events == ("hbc" if body else "hc")
    assert (sink.status, sink.length, sink.body) == (200, len(body), body)
    assert wire.released == [wire.connection]
    assert not wire.transport.closing


@given(chunk_lists, cuts)
@example([b"data: a\n\n", b"data: b\n\n", b"data: [DONE]\n\n"], list(range(300)))
def test_chunks_stay_chunks_however_the_bytes_are_split(chunks: list[bytes], at: list[int]) -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(*cut(chunked(*chunks), at))
    assert sink.parts == chunks
    assert sink.length is None
    assert sink.events == ("hbc" if chunks else "hc")
    assert wire.released == [wire.connection]


@pytest.mark.parametrize("answer", [with_length(b"body"), chunked(b"ab", b"cd"), OK + b"content-length: 0\r\n\r\n"])
def test_a_byte_at_a_time(answer: bytes) -> None:
    wire = Wire()
    sink = wire.ask()
    for at in range(len(answer)):
        assert not wire.released
        assert "c" not in sink.events
        wire.receive(answer[at : at + 1])
    assert sink.events.endswith("c")
    assert wire.released == [wire.connection]


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("fields", [b"", b"content-length: 5\r\n"])
def test_answers_that_have_no_body(status: bytes, fields: bytes) -> None:
    wire = Wire()
    sink = wire.ask()
    if status.startswith(b"204") and fields:
        fields = b"content-length: 0\r\n"
    wire.receive(b"HTTP/1.1 %b\r\n%b\r\n" % (status, fields))
    assert (sink.events, sink.length, sink.status) == ("hc", 0, int(status[:3]))
    assert wire.released == [wire.connection]


@pytest.mark.parametrize("fields", [b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"])
def test_the_answer_to_head_has_no_body_whatever_it_says(fields: bytes) -> None:
    wire = Wire()
    sink = wire.ask(head=True)
    wire.receive(OK + fields + b"\r\n")
    assert (sink.events, sink.length) == ("hc", 0)
    assert wire.released == [wire.connection]
    # The connection is in step: the next request's answer is its own.
    after = wire.ask()
    wire.receive(with_length(b"next"))
    assert (after.events, after.body) == ("hbc", b"next")


def test_the_answer_to_head_tells_the_length_that_get_would_have() -> None:
    wire = Wire()
    sink = wire.ask(head=True)
    wire.receive(OK + b"content-length: 5\r\n\r\n")
    assert sink.headers == [(b"content-length", b"5")]


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"304 Not Modified"])
def test_a_connection_is_kept_after_head_whatever_the_length(status: bytes) -> None:
    """An answer without a body ends at its head, also for the parser: it need not be closed."""
    wire = Wire()
    sink = wire.ask(head=True)
    wire.receive(b"HTTP/1.1 %b\r\n%b\r\n" % (status, b"content-length: 0\r\n" if status.startswith(b"200") else b""))
    assert sink.events == "hc"
    assert wire.released == [wire.connection]


@given(st.lists(st.sampled_from([100, 102, 103]), min_size=1, max_size=3), cuts, st.booleans())
def test_interim_answers_stay_between_us_and_the_worker(interim: list[int], at: list[int], streamed: bool) -> None:
    wire = Wire()
    sink = wire.ask()
    before = b"".join(b"HTTP/1.1 %d X\r\nlink: </style>\r\nx-early: 1\r\n\r\n" % status for status in interim)
    answer = chunked(b"final") if streamed else with_length(b"final", extra=b"x-late: 1\r\n")
    wire.receive(*cut(before + answer, at))
    assert (sink.events, sink.status, sink.body) == ("hbc", 200, b"final")
    assert b"x-early" not in dict(sink.headers)
    assert wire.released == [wire.connection]


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_a_body_that_only_the_close_ends(version: bytes) -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(version + b" 200 OK\r\nx: 1\r\n\r\n", b"one", b"two")
    assert (sink.events, sink.length, sink.parts) == ("hb", None, [b"one", b"two"])
    wire.lose()
    assert sink.events == "hbc"
    assert not wire.released


def test_a_body_that_a_reset_ends_is_broken() -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(OK + b"\r\n", b"one")
    wire.lose(ConnectionResetError())
    assert sink.events == "hbx"


@pytest.mark.parametrize("framing", [b"transfer-encoding: chunked  ", b"content-length: 4 ", b"content-length: 4\t"])
def test_white_space_after_a_value_is_none_of_it(framing: bytes) -> None:
    wire = Wire()
    sink = wire.ask()
    body = b"4\r\nbody\r\n0\r\n\r\n" if framing.startswith(b"transfer") else b"body"
    wire.receive(OK + b"x-a:  a  b \t \r\n" + framing + b"\r\n\r\n" + body)
    assert (sink.events, sink.body) == ("hbc", b"body")
    assert sink.headers[0] == (b"x-a", b"a  b")
    assert sink.headers[1:] in ([], [(b"content-length", b"4")])
    assert wire.released == [wire.connection]


def fields_of(count: int, size: int) -> bytes:
    """Fields whose names and values have `size` bytes each, with what stands between."""
    return b"".join(b"x%05d: %b\r\n" % (number, b"v" * (size - 10)) for number in range(count))


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 X\r\nlink: x\r\n\r\n"])
@pytest.mark.parametrize("body", [b"", b"x" * 2 * MAX_HEAD])
def test_a_long_head_is_passed_on_whole(interim: bytes, body: bytes) -> None:
    answer = interim + with_length(body, extra=fields_of(MAX_HEAD // 400 - 2, 400))
    for pieces in ([answer], cut(answer, list(range(0, len(answer), 5000)))):
        wire = Wire()
        sink = wire.ask()
        wire.receive(*pieces)
        assert sink.events == ("hbc" if body else "hc")
        assert len(sink.headers) == MAX_HEAD // 400 - 1


@pytest.mark.parametrize(
    "head",
    [
        OK + fields_of(MAX_HEAD // 400 + 1, 400),
        OK + b"x:\r\n" * (MAX_HEAD // 4),
        OK + b"n" * (MAX_HEAD + 1) + b": 1\r\n",
        OK + b"x: " + b"v" * (MAX_HEAD + 1),
        OK[:-2] + b"o" * 2 * MAX_HEAD,
        b"HTTP/1.1 103 X\r\nlink: x\r\n\r\n" * (MAX_HEAD // 10),
    ],
    ids=["many fields", "tiny fields", "a name", "a value", "a reason", "interim answers"],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_without_end_is_given_up(head: bytes, at_once: bool) -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(*([head] if at_once else cut(head, list(range(0, len(head), 5000)))), b"\r\n\r\n")
    assert sink.events == "x"
    assert sink.reason == "has a head of more than 64 KB"
    assert wire.transport.closing
    assert not wire.released


@pytest.mark.parametrize(
    "endless",
    [b"0\r\nx: " + b"v" * 2 * MAX_HEAD, b"0\r\n" + b"x:\r\n" * MAX_HEAD, b"1;" + b"e" * 2 * MAX_HEAD],
    ids=["a trailer", "trailers", "a chunk's extension"],
)
@pytest.mark.parametrize("before", [b"", b"3\r\nabc\r\n"])
def test_what_is_no_body_must_end_too(before: bytes, endless: bytes) -> None:
    """A trailer without end became the router's memory, and each of its bytes cost more time than the last."""
    wire = Wire()
    sink = wire.ask()
    wire.receive(OK + b"transfer-encoding: chunked\r\n\r\n" + before)
    wire.receive(*cut(endless, list(range(0, len(endless), 5000))))
    assert sink.events == ("hbx" if before else "hx")
    assert "64 KB" in sink.reason
    assert wire.transport.closing


def test_long_parts_beside_the_body_may_be_many() -> None:
    extension = b";" + b"e" * (MAX_HEAD - 1000)
    parts = [b"%x%b\r\n%d\r\n" % (1, extension, number % 10) for number in range(50)]
    wire = Wire()
    sink = wire.ask()
    wire.receive(OK + b"transfer-encoding: chunked\r\n\r\n", *parts, b"0\r\nx: " + extension + b"\r\n\r\n")
    assert (sink.events, len(sink.parts)) == ("hbc", 50)
    assert wire.released == [wire.connection]


# --- whether it may be used again ------------------------------------------------------------------------


def test_a_connection_carries_many_requests() -> None:
    wire = Wire()
    assert not wire.connection.used
    for number in range(1, 6):
        sink = wire.ask()
        assert not wire.connection.answering
        body = b"%d" % number
        wire.receive(with_length(body) if number % 2 else chunked(body))
        assert (sink.events, sink.body) == ("hbc", body)
        assert len(wire.released) == number
        assert wire.connection.used
    assert not wire.connection.closed


@pytest.mark.parametrize(
    "answer",
    [
        with_length(b"body", extra=b"Connection: close\r\n"),
        with_length(b"body", extra=b"connection: x-a, Close\r\n"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        OK + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ],
)
def test_a_worker_that_closes_is_believed(answer: bytes) -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(answer)
    assert (sink.events, sink.body) == ("hbc", b"body")
    assert not wire.released
    assert wire.transport.closing
    assert wire.connection.closed


EXTRA = [
    b"x",
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    with_length(b"smuggled", extra=b"x-evil: 1\r\n"),
    b"\x00",
]


@pytest.mark.parametrize("extra", EXTRA)
@pytest.mark.parametrize("answer", [with_length(b"body"), chunked(b"body"), b"HTTP/1.1 204 X\r\n\r\n"])
def test_bytes_after_the_end_make_a_connection_useless(answer: bytes, extra: bytes) -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(answer + extra)
    assert sink.events in ("hbc", "hc")
    assert sink.body == (b"" if b"204" in answer else b"body")
    assert not wire.released
    assert wire.transport.closing


@pytest.mark.parametrize("extra", EXTRA)
def test_bytes_after_the_end_of_a_headless_answer_too(extra: bytes) -> None:
    wire = Wire()
    sink = wire.ask(head=True)
    wire.receive(OK + b"content-length: 9\r\n\r\n" + extra)
    assert (sink.events, sink.body) == ("hc", b"")
    assert not wire.released


@pytest.mark.parametrize("answer", [with_length(b"body"), OK + b"content-length: 0\r\n\r\n"])
def test_bytes_after_the_end_do_not_change_the_answer(answer: bytes) -> None:
    """The head that was handed over is the answer's; a second message's fields must not appear in it."""
    wire = Wire()
    sink = wire.ask()
    wire.receive(answer + with_length(b"smuggled", extra=b"x-evil: 1\r\n"))
    assert [name for name, _ in sink.headers] == [b"content-length"]


def test_trailers_are_not_headers() -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(chunked(b"body", trailers=b"x-checksum: 1\r\n"))
    assert sink.events == "hbc"
    assert sink.headers == []
    assert wire.released == [wire.connection]


@pytest.mark.parametrize("after", [0, 1])
def test_unexpected_bytes_while_idle_close_it(after: int) -> None:
    wire = Wire()
    for _ in range(after):
        wire.ask()
        wire.receive(with_length(b"body"))
    wire.receive(with_length(b"unasked"))
    assert wire.transport.closing
    assert wire.connection.closed


def test_an_answer_before_the_request_was_sent_leaves_it_useless() -> None:
    wire = Wire()
    sink = wire.ask()
    wire.transport.unsent = 1
    wire.receive(with_length(b"too early"))
    assert sink.events == "hbc"
    assert not wire.released
    assert wire.connection.closed


def test_a_close_while_idle() -> None:
    wire = Wire()
    wire.ask()
    wire.receive(with_length(b"body"))
    wire.lose()
    assert wire.connection.closed


# --- broken answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "events"),
    [
        (OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n", "hx"),
        (OK + b"transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n", "hx"),
        (OK + b"transfer-encoding: chunked\r\n\r\n-1\r\n", "hx"),
        (OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", "x"),
        (OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", "x"),
        (OK + b"content-length: x\r\n\r\n", "x"),
        (OK + b"content-length: -1\r\n\r\n", "x"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "x"),
        (b"\x15\x03\x01\x00\x02\x02P", "x"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "x"),
        (b"HTTP/1.1 1000 OK\r\n\r\n", "x"),
        (b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", "x"),
        (OK + b"bad name: 1\r\n\r\n", "x"),
        (OK + b"name: a\x00b\r\n\r\n", "x"),
    ],
)
def test_what_is_no_http_breaks_the_answer_once(answer: bytes, events: str) -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(answer, b"more")
    wire.lose()
    assert sink.events == events
    assert sink.reason
    assert wire.connection.closed
    assert wire.transport.closing
    assert not wire.released


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 099 X\r\ncontent-length: 2\r\n\r\nok", b"HTTP/1.1 103 X\r\ncontent-length: 2\r\n\r\nok"]
)
def test_a_body_is_never_passed_on_before_a_head(interim: bytes) -> None:
    """An interim answer has no body (RFC 9110 section 15.2), and no status is below 100."""
    wire = Wire()
    sink = wire.ask()
    wire.receive(interim, with_length(b"final"))
    assert not sink.events.startswith("b")


@pytest.mark.parametrize("answer", [with_length(b"body"), chunked(b"one", b"two")])
def test_a_close_in_mid_answer_breaks_it_wherever_it_comes(answer: bytes) -> None:
    for end in range(len(answer)):
        wire = Wire()
        sink = wire.ask()
        if end:
            wire.receive(answer[:end])
        assert wire.connection.answering == bool(end)
        wire.lose()
        assert sink.events.endswith("x")
        assert sink.events.count("x") == 1
        assert "c" not in sink.events
        assert "did not begin" in sink.reason if end == 0 else "ended before" in sink.reason


def test_a_close_on_a_connection_that_was_used_before_is_told_as_nothing_received() -> None:
    wire = Wire()
    wire.ask()
    wire.receive(with_length(b"body"))
    sink = wire.ask()
    wire.lose()
    assert sink.events == "x"
    assert not wire.connection.answering


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"chunked\t"])
def test_a_transfer_coding_that_was_not_asked_for_breaks_the_answer(coding: bytes) -> None:
    """We sent no TE, and could not undo a coding whose field must not be passed on."""
    wire = Wire()
    sink = wire.ask()
    wire.receive(OK + b"transfer-encoding: %b\r\n\r\n" % coding, b"one", b"two")
    assert sink.events == "x"
    assert not wire.released


@pytest.mark.parametrize(
    "endless",
    [
        b"HTTP/1.1 200 " + b"a" * 1000,
        OK + b"x: " + b"a" * 1000,
        b"HTTP/1.1 102 X\r\n\r\n" * 50,
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"0" * 1000,
        OK + b"transfer-encoding: chunked\r\n\r\n0\r\nx: " + b"a" * 1000,
    ],
)
def test_what_is_no_body_is_not_held_without_end(endless: bytes) -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(endless)
    received = len(endless)
    while not wire.transport.closing:
        # What goes on as it began: a byte of a value, or a whole interim answer.
        more = endless if endless.endswith(b"\r\n") else endless[-1000:]
        wire.receive(more)
        received += len(more)
        assert received <= MAX_HEAD + 2 * len(endless)
    assert sink.events.endswith("x")
    assert "more than 64 KB" in sink.reason


def test_a_long_stream_is_not_taken_for_a_long_head() -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(OK + b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(20_000):
        wire.receive(b"1\r\n", b"x\r\n")
    wire.receive(b"0\r\n\r\n")
    assert (sink.events, len(sink.body)) == ("hbc", 20_000)


@pytest.mark.parametrize("before", [b"", OK[:5], OK, OK + b"content-length: 9\r\n\r\n", OK + b"\r\nbody"])
def test_after_abort_nothing_is_said(before: bytes) -> None:
    wire = Wire()
    sink = wire.ask()
    if before:
        wire.receive(before)
    seen = sink.events
    wire.connection.abort()
    wire.lose()
    assert sink.events == seen
    assert wire.connection.closed
    assert wire.transport.closing
    assert not wire.released


def test_abort_from_inside_a_part() -> None:
    """The client may leave while a part is passed on; what the parser still has is nobody's."""
    wire = Wire()

    class Leaving(Sink):
        def on_body(self, data: bytes) -> None:
            super().on_body(data)
            wire.connection.abort()

    sink = wire.ask(sink=Leaving())
    wire.receive(chunked(b"one", b"two", b"three"))
    assert sink.parts == [b"one"]
    assert sink.events == "hb"
    assert not wire.released
    assert wire.connection.closed


# --- pause and resume ------------------------------------------------------------------------------------


def test_pause_and_resume() -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(OK + b"content-length: 9\r\n\r\nabc")
    reading = []
    for change in (wire.connection.pause, wire.connection.pause, wire.connection.resume, wire.connection.resume):
        change()
        reading.append(wire.transport.reading)
    assert reading == [False, False, True, True]
    wire.receive(b"defghi")
    assert sink.events == "hbc"


def test_a_connection_paused_by_its_last_bytes_reads_again_before_it_is_free() -> None:
    """A paused connection that went back to the pool made the next request on it hang."""
    wire = Wire()

    class Stalled(Sink):
        def on_body(self, data: bytes) -> None:
            super().on_body(data)
            wire.connection.pause()

    sink = wire.ask(sink=Stalled())
    wire.receive(chunked(b"one", b"two"))
    assert sink.events == "hbc"
    assert wire.released == [wire.connection]
    assert wire.reading_when_released == [True]
    after = wire.ask()
    wire.receive(with_length(b"next"))
    assert after.events == "hbc"
    # The pause of the first is over for good: this is a new one.
    wire.ask()
    wire.connection.pause()
    assert not wire.transport.reading


def test_a_closing_connection_is_neither_paused_nor_resumed() -> None:
    wire = Wire()
    wire.ask()
    wire.connection.pause()
    wire.transport.closing = True
    wire.connection.resume()
    assert not wire.transport.reading
    other = Wire()
    other.ask()
    other.transport.closing = True
    other.connection.pause()
    assert other.transport.reading


# --- heads and large chunks ------------------------------------------------------------------------------


def test_hop_by_hop_fields_of_the_answer_are_taken_out_and_named_ones_too() -> None:
    wire = Wire()
    sink = wire.ask()
    wire.receive(
        OK + b"X-First: 1\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Authenticate: x\r\nTrailer: x\r\nConnection: x-HOP2\r\nX-hop2: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    assert sink.headers == [(b"x-first", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
    assert wire.released


def test_a_chunk_larger_than_the_limit_is_passed_on_in_pieces() -> None:
    wire = Wire()
    sink = wire.ask()
    chunk = bytes(range(256)) * (4 * _MAX_HELD_CHUNK // 256)
    data = chunked(chunk, b"small")
    held = 0
    for at in range(0, len(data), 10_000):
        wire.receive(data[at : at + 10_000])
        received = min(at + 10_000, len(chunk))
        held = max(held, received - len(sink.body))
    assert sink.body == chunk + b"small"
    assert sink.parts[-1] == b"small"
    assert len(sink.parts) > 4
    assert held <= _MAX_HELD_CHUNK + 10_000
    assert wire.released


def test_what_is_sent() -> None:
    wire = Wire()
    sink = Sink()
    wire.connection.send(b"HEAD\r\n\r\n", b"x" * 200_000, sink, bodiless_answer=False)
    assert wire.transport.written == b"HEAD\r\n\r\n" + b"x" * 200_000
    assert not wire.connection.answering
