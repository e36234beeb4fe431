"""G-BYTES-2, the head: status and fields reach the client as the worker sent them, less what is hop by hop."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.bytes.messages import CHUNKED, Field, answer, bodiless, chunked, request
from tests.integration.bytes.raw_client import Answer, RawClient
from tests.integration.bytes.raw_worker import RawWorker, saying
from tests.integration.bytes.test_bodies_to_worker import steady
from tests.integration.bytes.test_heads_to_worker import grouped, values

# What the router sets itself in every answer, and what ends at each connection.
OURS = (b"x-request-id", b"content-length", b"transfer-encoding", b"connection")
# What the server adds when the worker gives none; vLLM gives both.
ADDED = (b"date", b"server")
GIVEN: list[Field] = [(b"Date", b"Sat, 21 Nov 2026 03:08:39 GMT"), (b"Server", b"uvicorn")]

HOP_BY_HOP: list[Field] = [
    (b"Keep-Alive", b"timeout=5"),
    (b"TE", b"trailers"),
    (b"Trailer", b"x-t"),
    (b"Upgrade", b"h2c"),
    (b"Proxy-Authenticate", b"Basic"),
    (b"Proxy-Authorization", b"Basic abc"),
    (b"Proxy-Connection", b"keep-alive"),
]
NAMES = [
    *(b"Content-Type", b"Content-Encoding", b"Set-Cookie", b"set-cookie", b"Vary", b"ETag", b"WWW-Authenticate"),
    *(b"X-A", b"x-a", b"Via", b"Retry-After", b"openai-processing-ms", b"Link", b"!#$%&'*+-.^_`|~9"),
]
fields = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=20)


def end_to_end(told: Answer) -> list[Field]:
    return [field for field in told.fields if field[0] not in OURS]


@steady
@given(fields, st.booleans(), st.integers(0, 20))
def test_g_bytes_2_fields(worker: RawWorker, client: RawClient, sent: list[Field], streamed: bool, at: int) -> None:
    sent = [*sent[:at], *GIVEN, *sent[at:]]
    worker.script = saying(chunked(b"ok", fields=sent) if streamed else answer(fields=sent))
    told = client.ask(request())
    asked = worker.taken()
    assert end_to_end(told) == grouped(sent)
    assert told.values(b"x-request-id") == asked.values(b"x-request-id")
    assert told.values(b"content-length") == ([] if streamed else [b"2"])
    assert told.values(b"transfer-encoding") == ([b"chunked"] if streamed else [])
    assert len(told.fields) == len(sent) + 2


@steady
@given(fields, st.lists(st.sampled_from(HOP_BY_HOP), max_size=5), st.sets(st.sampled_from(NAMES), max_size=4))
def test_g_bytes_2_hop_by_hop_fields_end_at_the_router(
    worker: RawWorker, client: RawClient, sent: list[Field], hop_by_hop: list[Field], named: set[bytes]
) -> None:
    connection: list[Field] = [(b"Connection", b" , ".join([*(name.upper() for name in named), b"keep-alive"]))]
    worker.script = saying(answer(fields=[*sent[:3], *hop_by_hop, *connection, *GIVEN, *sent[3:]]))
    told = client.ask(request())
    gone = {name.lower() for name in named}
    assert end_to_end(told) == [field for field in grouped([*sent[:3], *GIVEN, *sent[3:]]) if field[0] not in gone]


@pytest.mark.parametrize("streamed", [False, True])
def test_date_and_server_are_added_where_the_worker_gives_none(
    worker: RawWorker, client: RawClient, *, streamed: bool
) -> None:
    worker.script = saying(chunked(b"ok", fields=[]) if streamed else answer())
    told = client.ask(request())
    assert [name for name, _ in end_to_end(told)] == [b"server", b"date"]
    assert told.values(b"server") == [b"granian"]
    assert re.fullmatch(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", told.values(b"date")[0])


def test_g_bytes_2_white_space_around_a_value_is_none_of_it(worker: RawWorker, client: RawClient) -> None:
    worker.script = saying(
        b"HTTP/1.1 200 OK\r\nx-a:\t  a  b \t \r\nx-b:\r\nx-c:  \r\ncontent-length:  70000 \r\n\r\n" + b"x" * 70_000
    )
    told = client.ask(request())
    assert [field for field in end_to_end(told) if field[0] not in ADDED] == [
        (b"x-a", b"a  b"),
        (b"x-b", b""),
        (b"x-c", b""),
    ]
    assert told.values(b"content-length") == [b"70000"]


def test_the_workers_own_id_of_a_request_gives_way_to_the_clients(worker: RawWorker, client: RawClient) -> None:
    worker.script = saying(answer(fields=[(b"X-Request-Id", b"the workers")]))
    assert client.ask(request(fields=[(b"x-request-id", b"mine")])).values(b"x-request-id") == [b"mine"]


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD"])
def test_g_bytes_2_every_status(worker: RawWorker, client: RawClient, method: bytes) -> None:
    for status in range(200, 600):
        without_body = method == b"HEAD" or status in (204, 304)
        line = b"%d Of No Kind" % status
        worker.script = saying(bodiless(line) if without_body else answer(b"body", status=line))
        told = client.ask(request(method=method))
        assert (told.status, told.body) == (status, b"" if without_body else b"body")
    assert len(worker.take()) == 400


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"200 OK", b"OK"),
        (b"200 Fine", b"OK"),
        (b"200 ", b"OK"),
        (b"200", b"OK"),
        (b"404 caf\xe9", b"Not Found"),
        (b"299 Odd", b"<none>"),
        (b"499 Client Closed Request", b"<none>"),
    ],
)
def test_reason_phrases_are_the_servers_own(worker: RawWorker, client: RawClient, line: bytes, reason: bytes) -> None:
    """They say nothing (RFC 9112 section 4), and HTTP/2 has none."""
    worker.script = saying(answer(status=line))
    told = client.ask(request())
    assert (told.status, told.reason) == (int(line[:3]), reason)


@pytest.mark.parametrize(
    "given",
    [[(b"x-long", b"v" * 60_000)], [(b"n" * 60_000, b"1")], [(b"x-%d" % number, b"1") for number in range(250)]],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_g_bytes_2_long_heads(worker: RawWorker, client: RawClient, given: list[Field], *, streamed: bool) -> None:
    worker.script = saying(chunked(b"ok", fields=given) if streamed else answer(fields=given))
    assert [field for field in end_to_end(client.ask(request())) if field[0] not in ADDED] == given


TOO_LONG: list[list[Field]] = [
    [(b"x-long", b"v" * 66_000)],
    [(b"n" * 65_536, b"1")],
    [(b"x-%d" % number, b"1") for number in range(30_000)],
    [(b"x", b"")] * 40_000,
]


@pytest.mark.parametrize("given", TOO_LONG, ids=["value", "name", "fields", "empty fields"])
@pytest.mark.parametrize("last", [CHUNKED, (b"content-length", b"2")], ids=["streamed", "whole"])
def test_a_head_that_is_too_long_is_a_502(
    worker: RawWorker, client: RawClient, given: list[Field], last: Field
) -> None:
    """Such answers ended the plane, or left the client without any."""
    worker.script = saying(bodiless(b"200 OK", [*given, last]))
    told = client.ask(request())
    assert told.status == 502
    assert b"has a head of more than 64 KB" in told.body
    worker.script = saying(answer(b"next"))
    assert client.ask(request()).body == b"next"
