"""G-BYTES-1 and 2 for a client that speaks HTTP/2: the same bytes, the worker still hears HTTP/1.1."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.bytes.h2_client import H2Client
from tests.integration.bytes.messages import CHUNKED, STREAM, Field, answer, bodies, bodiless, chunked, cut, cuts
from tests.integration.bytes.raw_worker import RawWorker, saying
from tests.integration.bytes.test_bodies_to_worker import steady
from tests.integration.bytes.test_heads_to_client import GIVEN, HOP_BY_HOP, fields
from tests.integration.bytes.test_heads_to_worker import end_to_end, grouped
from tests.integration.routers import Router


@pytest.fixture
def client(router: Router) -> Iterator[H2Client]:
    with H2Client(router.port) as one:
        yield one


@steady
@given(bodies)
def test_g_bytes_1_bodies_over_http_2(worker: RawWorker, client: H2Client, body: bytes) -> None:
    assert client.ask(body=body).body == b"ok"
    asked = worker.taken()
    assert asked.body == body
    assert asked.values(b"content-length") == [b"%d" % len(body)]


def test_g_bytes_1_a_head_over_http_2(worker: RawWorker, client: H2Client) -> None:
    sent: list[Field] = [(b"x-a", b"1"), (b"accept", b"\xe9\xff"), (b"x-a", b""), (b"x-long", b"v" * 60_000)]
    told = client.ask(b"/a//../%2F?b?c", method=b"PATCH", fields=[*sent, (b"te", b"trailers")])
    asked = worker.taken()
    assert asked.request_line == b"PATCH /a//../%2F?b?c HTTP/1.1"
    assert end_to_end(asked) == grouped(sent)
    assert asked.values(b"host") == [worker.authority]
    assert asked.values(b"x-request-id") == told.values(b"x-request-id")


def test_a_cookie_that_http_2_split_reaches_the_worker_whole(worker: RawWorker, client: H2Client) -> None:
    client.ask(fields=[(b"cookie", b"a=1"), (b"x-a", b"1"), (b"cookie", b"b=2"), (b"cookie", b"c=3")])
    asked = worker.taken()
    assert asked.values(b"cookie") == [b"a=1; b=2; c=3"]
    assert asked.values(b"x-a") == [b"1"]


@steady
@given(fields, st.booleans(), st.lists(st.sampled_from(HOP_BY_HOP), max_size=3))
def test_g_bytes_2_fields_over_http_2(
    worker: RawWorker, client: H2Client, sent: list[Field], streamed: bool, hop_by_hop: list[Field]
) -> None:
    """No field that HTTP/2 forbids (RFC 9113 section 8.2.2) comes from the worker's side."""
    given = [*hop_by_hop, (b"Connection", b"keep-alive"), *sent, *GIVEN]
    worker.script = saying(chunked(b"ok", fields=given) if streamed else answer(fields=given))
    told = client.ask()
    asked = worker.taken()
    own = [(b"x-request-id", asked.values(b"x-request-id")[0])]
    length = [] if streamed else [(b"content-length", b"2")]
    assert sorted(told.fields) == sorted(grouped([*sent, *GIVEN, *own, *length]))
    assert [field for field in told.fields if field not in [*own, *length]] == grouped([*sent, *GIVEN])
    assert (told.body, told.trailers, told.reset) == (b"ok", None, None)


@steady
@given(st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=12), cuts)
def test_g_bytes_2_each_chunk_is_a_frame(
    worker: RawWorker, client: H2Client, chunks: list[bytes], at: list[int]
) -> None:
    worker.script = saying(*cut(chunked(*chunks, trailers=[(b"x-checksum", b"1")]), at))
    told = client.ask()
    assert told.parts == chunks
    assert told.trailers is None


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 65_537, 3_000_000])
def test_g_bytes_2_sizes_over_http_2(worker: RawWorker, client: H2Client, size: int) -> None:
    body = random.Random(size).randbytes(size)
    for script in (saying(answer(body)), saying(chunked(body)), saying(bodiless(b"200 OK") + body, close=True)):
        worker.script = script
        told = client.ask()
        assert (told.reset, len(told.body), zlib.crc32(told.body)) == (None, size, zlib.crc32(body))


@pytest.mark.parametrize("status", [200, 204, 205, 299, 304, 418, 499, 599])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_g_bytes_2_statuses_over_http_2(worker: RawWorker, client: H2Client, method: bytes, status: int) -> None:
    line = b"%d Odd" % status
    without_body = method == b"HEAD" or status in (204, 304)
    worker.script = saying(bodiless(line, [STREAM, CHUNKED]) if without_body else answer(b"body", status=line))
    told = client.ask(method=method)
    assert (told.status, told.body, told.reset) == (status, b"" if without_body else b"body", None)
    assert not told.values(b"transfer-encoding")
    worker.script = saying(answer(b"next"))
    assert client.ask().body == b"next"
