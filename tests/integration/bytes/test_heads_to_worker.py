"""G-BYTES-1, the head: method, target and fields reach the worker as the client wrote them, less what is hop by hop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.bytes.messages import Field, request
from tests.integration.bytes.raw_client import RawClient
from tests.integration.bytes.raw_worker import Asked, RawWorker
from tests.integration.bytes.test_bodies_to_worker import steady

# What the router sets itself in every request, and what it asks a worker for now and then.
OURS = (b"host", b"x-request-id", b"content-length")
ASKED_FOR_NOW_AND_THEN = (b"endpoint-load-metrics-format", b"TEXT")

HOP_BY_HOP: list[Field] = [
    (b"Keep-Alive", b"timeout=5"),
    (b"TE", b"trailers, deflate"),
    (b"Trailer", b"x-t"),
    (b"Upgrade", b"foo/2"),
    (b"Proxy-Authorization", b"Basic abc"),
    (b"Proxy-Authenticate", b"Basic"),
    (b"Proxy-Connection", b"keep-alive"),
]
NAMES = [
    *(b"Accept", b"accept-encoding", b"AUTHORIZATION", b"Cookie", b"Content-Type", b"User-Agent", b"traceparent"),
    *(b"X-A", b"x-a", b"X-B", b"x_under", b"Via", b"X-Forward", b"!#$%&'*+-.^_`|~9"),
]
values = st.one_of(
    st.sampled_from(
        [b"", b"1", b"a, b", b'"q\\"uoted"', b"gzip;q=0.5, *;q=0", b"Bearer sk-\xe9\xff", b"a\tb", b"x" * 9000]
    ),
    st.binary(max_size=40).map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F).strip(b" \t")),
)
fields = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=20)


def grouped(sent: list[Field]) -> list[Field]:
    """As the server keeps them: names in lower case, a repeated one's values together and in their order."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in sent:
        values.setdefault(name.lower(), []).append(value)
    return [(name, value) for name, several in values.items() for value in several]


def end_to_end(asked: Asked) -> list[Field]:
    return [field for field in asked.fields if field[0] not in OURS and field != ASKED_FOR_NOW_AND_THEN]


@steady
@given(fields)
def test_g_bytes_1_fields(worker: RawWorker, client: RawClient, sent: list[Field]) -> None:
    answer = client.ask(request(fields=sent, body=b"{}"))
    asked = worker.taken()
    assert end_to_end(asked) == grouped(sent)
    assert asked.values(b"host") == [worker.authority]
    assert asked.values(b"content-length") == [b"2"]
    # The id is the one that the client is told.
    assert asked.values(b"x-request-id") == answer.values(b"x-request-id")
    assert len(asked.fields) - asked.fields.count(ASKED_FOR_NOW_AND_THEN) == len(sent) + len(OURS)


@steady
@given(fields, st.lists(st.sampled_from(HOP_BY_HOP), max_size=5), st.sets(st.sampled_from(NAMES), max_size=4))
def test_g_bytes_1_hop_by_hop_fields_end_at_the_router(
    worker: RawWorker, client: RawClient, sent: list[Field], hop_by_hop: list[Field], named: set[bytes]
) -> None:
    connection: list[Field] = [(b"Connection", b", ".join([b"keep-alive", *(name.title() for name in named)]))]
    client.ask(request(fields=[*sent[:3], *hop_by_hop, *connection, *sent[3:]]))
    gone = {name.lower() for name in named}
    assert end_to_end(worker.taken()) == [field for field in grouped(sent) if field[0] not in gone]


@pytest.mark.parametrize("close", [False, True])
def test_a_connection_field_is_each_sides_own(worker: RawWorker, client: RawClient, *, close: bool) -> None:
    answer = client.ask(request(fields=[(b"Connection", b"close")] if close else []))
    assert not worker.taken().values(b"connection")
    assert answer.values(b"connection") == ([b"close"] if close else [])


def test_the_id_is_the_clients_last_one(worker: RawWorker, client: RawClient) -> None:
    answer = client.ask(request(fields=[(b"X-Request-Id", b"first"), (b"x-request-id", b"last !~")]))
    assert worker.taken().values(b"x-request-id") == answer.values(b"x-request-id") == [b"last !~"]


TARGETS = [
    *(
        b"/",
        b"/a",
        b"//",
        b"//host/path",
        b"/a//b/",
        b"/a/../b/./c",
        b"/..",
        b"/.",
        b"/a;p=1;q",
        b"/a:80",
        b"/[]",
    ),
    *(b"/%2e%2E%2F%2f%00%0d%0a", b"/%", b"/%zz", b"/%e9", b"/\xc3\xa9", b"/a'()!$&+,=@~", b'/"{}|\\^'),
    *(
        b"/a?b",
        b"/?",
        b"/a?b?c??",
        b"/a?b=c&b=d&&=",
        b"/a?%zz%20%",
        b"/a?/../..//",
        b"/a?b+c;d",
        b"/a?\xc3\xa9{}|\\^`'",
    ),
]


@pytest.mark.parametrize("target", TARGETS)
def test_g_bytes_1_the_target_is_what_the_client_wrote(worker: RawWorker, client: RawClient, target: bytes) -> None:
    client.ask(request(target, method=b"GET"))
    # One thing is lost: the server does not tell an empty query from none.
    expected = target.removesuffix(b"?") if target == b"/?" else target
    assert worker.taken().request_line == b"GET %b HTTP/1.1" % expected


def test_g_bytes_1_options_may_ask_about_the_server_itself(worker: RawWorker, client: RawClient) -> None:
    client.ask(request(b"*", method=b"OPTIONS"))
    assert worker.taken().request_line == b"OPTIONS * HTTP/1.1"


@steady
@given(st.text("%2eEfF/.;:?&=+~!$'()*,@-_\u00e9aZ0[]{}|\\^", max_size=60).filter(lambda text: not text.endswith("?")))
def test_g_bytes_1_random_targets(worker: RawWorker, client: RawClient, text: str) -> None:
    target = b"/x/" + text.encode()
    client.ask(request(target, method=b"GET"))
    assert worker.taken().request_line == b"GET %b HTTP/1.1" % target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"http://other:9/a/../b?c=%20", b"/a/../b?c=%20"),
        (b"https://user:word@other/a", b"/a"),
        (b"http://other", b"/"),
        (b"http://other?q", b"/?q"),
        (b"/a?b#fragment", b"/a?b"),
    ],
)
def test_other_forms_of_targets_are_sent_as_a_path(
    worker: RawWorker, client: RawClient, target: bytes, expected: bytes
) -> None:
    """As RFC 9112 section 3.2.1 wants it towards a worker; the host is the worker's own."""
    client.ask(request(target, method=b"GET"))
    asked = worker.taken()
    assert asked.request_line == b"GET %b HTTP/1.1" % expected
    assert asked.values(b"host") == [worker.authority]


METHODS = [
    *(b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"HEAD"),
    *(b"PROPFIND", b"M-SEARCH", b"MADEUP", b"get", b"!#$%&'*+-.^_`|~9", b"A" * 200),
]
EXPECT_A_BODY = frozenset(METHODS) - {b"GET", b"DELETE", b"OPTIONS", b"TRACE", b"HEAD"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("body", [None, b"", b"abc"])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_g_bytes_1_methods(
    worker: RawWorker, client: RawClient, method: bytes, body: bytes | None, *, in_chunks: bool
) -> None:
    chunks = [b"ab", b"c"] if body else []
    answer = client.ask(request(b"/m", method=method, body=body, chunks=chunks if in_chunks else None))
    assert answer.status == 200
    asked = worker.taken()
    assert asked.request_line == b"%b /m HTTP/1.1" % method
    assert asked.body == (body or b"")
    # RFC 9110 section 8.6: where a body is expected, its length is told, 0 too; elsewhere only that of a real one.
    told = body or method in EXPECT_A_BODY
    assert asked.values(b"content-length") == ([b"%d" % len(body or b"")] if told else [])


LONGEST: list[tuple[str, bytes, list[Field], list[Field]]] = [
    ("a value", b"/a", [(b"x-long", b"v" * 60_000)], [(b"x-long", b"v" * 66_000)]),
    ("a name", b"/a", [(b"n" * 60_000, b"1")], [(b"n" * 66_000, b"1")]),
    ("fields", b"/a", [(b"x-%d" % number, b"1") for number in range(99)], [(b"x-99", b"1")]),
    ("a target", b"/" + b"p" * 60_000, [], [(b"x-long", b"v" * 66_000)]),
]


@pytest.mark.parametrize(("target", "most", "more"), [one[1:] for one in LONGEST], ids=[one[0] for one in LONGEST])
def test_the_server_takes_heads_up_to_its_limits(
    worker: RawWorker, client: RawClient, target: bytes, most: list[Field], more: list[Field]
) -> None:
    """64 KB in all, and 100 fields with the host."""
    assert client.ask(request(target, fields=most)).status == 200
    asked = worker.taken()
    assert asked.request_line == b"POST %b HTTP/1.1" % target
    assert end_to_end(asked) == most

    refused = client.ask(request(target, fields=[*most, *more]))
    assert refused.status == 431
    assert not worker.take()
