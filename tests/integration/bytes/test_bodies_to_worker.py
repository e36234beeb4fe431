"""G-BYTES-1: the body that the worker gets is the client's, byte for byte, however it was sent."""

from __future__ import annotations

import random
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.integration.bytes.messages import bodies, cut, cuts, random_body, random_pieces, request
from tests.integration.bytes.raw_client import RawClient
from tests.integration.bytes.raw_worker import Asked, RawWorker
from tests.integration.routers import Router

steady = settings(
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
# An upload of 200 KB in one segment; the empty body; what ends a chunked body; a request within a body.
AWKWARD = [
    b"",
    b"\x00" * 200_000,
    b"0\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n",
    b'\xef\xbb\xbf{"model":"m"}',
]


@steady
@given(bodies, cuts)
@example(AWKWARD[0], [])
@example(AWKWARD[1], [])
@example(AWKWARD[2], [1, 2, 3, 4])
@example(AWKWARD[3], [])
@example(AWKWARD[4], [1, 2])
def test_g_bytes_1_a_body_of_known_length(worker: RawWorker, client: RawClient, body: bytes, at: list[int]) -> None:
    for piece in cut(request(body=body), at):
        client.send(piece)
    assert client.read_answer().body == b"ok"
    assert worker.taken().body == body


@steady
@given(bodies, cuts, cuts)
@example(b"", [], [])
@example(AWKWARD[1], [], [])
@example(AWKWARD[2], [1, 2, 3, 4], [])
@example(b'{"model":"m"}', list(range(13)), list(range(400)))
def test_g_bytes_1_a_body_in_chunks(
    worker: RawWorker, client: RawClient, body: bytes, chunks_at: list[int], at: list[int]
) -> None:
    chunks = [chunk for chunk in cut(body, chunks_at) if chunk]
    for piece in cut(request(chunks=chunks), at):
        client.send(piece)
    assert client.read_answer().body == b"ok"
    asked = worker.taken()
    assert asked.body == body
    # The router has the body in hand, so it tells its length.
    assert asked.values(b"content-length") == [b"%d" % len(body)]
    assert not asked.values(b"transfer-encoding")


def test_g_bytes_1_extensions_of_chunks_and_trailers_end_at_the_router(worker: RawWorker, client: RawClient) -> None:
    upload = b'3;name="value"\r\nabc\r\n2\r\nde\r\n0;last\r\nx-checksum: 1\r\n\r\n'
    client.ask(b"POST /a HTTP/1.1\r\nhost: x\r\ntrailer: x-checksum\r\ntransfer-encoding: chunked\r\n\r\n" + upload)
    asked = worker.taken()
    assert asked.body == b"abcde"
    assert {b"trailer", b"x-checksum"}.isdisjoint(name for name, _ in asked.fields)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000, 8_000_000])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_g_bytes_1_sizes(worker: RawWorker, client: RawClient, size: int, *, in_chunks: bool) -> None:
    body = random.Random(size).randbytes(size)
    chunks = [body[start : start + 50_000] for start in range(0, size, 50_000)] if in_chunks else None
    client.ask(request(body=body, chunks=chunks))
    # Compared by a checksum: pytest would explain for minutes how 8 MB differ.
    asked = worker.taken()
    assert (len(asked.body), zlib.crc32(asked.body)) == (size, zlib.crc32(body))


def test_g_bytes_1_expect_is_answered_here(worker: RawWorker, client: RawClient) -> None:
    """A body is asked for before it is sent, by the router: the worker gets all of it at once."""
    head, _, body = request(fields=[(b"Expect", b"100-continue")], body=b'{"model":"m"}').partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert client.read_head().status_line == b"HTTP/1.1 100 Continue"
    assert not worker.asked
    client.send(body)
    answer = client.read_answer()
    assert (answer.status, answer.interim) == (200, [])
    asked = worker.taken()
    assert asked.body == body
    assert not asked.values(b"expect")


def random_uploads(port: int, seed: int, count: int) -> None:
    """Send random bodies on one connection; the worker names the length and the checksum of what it got."""
    rng = random.Random(seed)
    with RawClient(port) as client:
        for number in range(count):
            body = random_body(rng)
            pieces = random_pieces(rng, body)
            if rng.random() < 0.5:
                client.send(request(chunks=pieces))
            else:
                head = request(body=body)[: -len(body) or None]
                client.send(head + (pieces.pop(0) if pieces else b""))
                for piece in pieces:
                    client.send(piece)
            told = client.read_answer().body
            assert told == b"%d %d" % (len(body), zlib.crc32(body)), (seed, number, body[:2000])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)], ids=lambda count: f"{count} bodies"
)
def test_g_bytes_1_random_bodies(router: Router, worker: RawWorker, count: int) -> None:
    def tell(asked: Asked) -> None:
        told = b"%d %d" % (len(asked.body), zlib.crc32(asked.body))
        asked.line.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(told), told))
        # Not kept: a hundred thousand bodies are some gigabytes.
        asked.body = b""

    worker.script = tell
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(random_uploads, router.port, seed, count // 4) for seed in range(4)]:
            done.result()
    assert len(worker.take()) == count
