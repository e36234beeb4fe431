"""G-BYTES-2, the body: every byte and every chunk reaches the client as the worker sent it, whatever the framing."""

from __future__ import annotations

import gzip
import random
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.integration.bytes.messages import (
    CHUNKED,
    STREAM,
    Field,
    answer,
    bodies,
    bodiless,
    chunk,
    chunked,
    cut,
    cuts,
    in_chunks,
    lines,
    random_body,
    random_pieces,
    request,
)
from tests.integration.bytes.raw_client import RawClient
from tests.integration.bytes.raw_worker import Asked, RawWorker, Script, saying
from tests.integration.bytes.test_bodies_to_worker import steady
from tests.integration.routers import Router

JSON = (b"content-type", b"application/json")
kinds = st.sampled_from([JSON, STREAM, (b"content-type", b"text/plain")])
chunk_lists = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=300),
        st.sampled_from([b"data: [DONE]\n\n", b"\r\n", b"0\r\n\r\n", b"x" * 65_536]),
    ),
    max_size=12,
)


# --- framings --------------------------------------------------------------------------------------------


@steady
@given(bodies, kinds, cuts)
@example(b"", STREAM, [])
@example(b"x" * 65_536, JSON, [])
@example(b"x" * 65_537, JSON, [])
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", JSON, [1])
def test_g_bytes_2_a_body_of_known_length(
    worker: RawWorker, client: RawClient, body: bytes, kind: Field, at: list[int]
) -> None:
    worker.script = saying(*cut(answer(body, fields=[kind]), at))
    told = client.ask(request())
    assert told.body == body
    assert told.values(b"content-length") == [b"%d" % len(body)]


@steady
@given(chunk_lists, kinds, cuts)
@example([b"a", b"b"], STREAM, list(range(400)))
@example([b"data: %d\n\n" % number for number in range(500)], STREAM, [])
@example([b"x" * 65_536] * 12, JSON, [])
def test_g_bytes_2_chunks_stay_chunks(
    worker: RawWorker, client: RawClient, chunks: list[bytes], kind: Field, at: list[int]
) -> None:
    """Several of them in one segment, one of them over several segments, or as it falls."""
    worker.script = saying(*cut(chunked(*chunks, fields=[kind]), at))
    told = client.ask(request())
    # That there is nothing may be said as no chunk or as a length of 0.
    assert (told.chunks or []) == chunks
    assert told.values(b"content-length") == ([b"0"] if told.chunks is None else [])


@steady
@given(bodies, kinds, cuts, st.sampled_from([b"HTTP/1.0", b"HTTP/1.1"]))
@example(b"", JSON, [], b"HTTP/1.1")
@example(b"", STREAM, [], b"HTTP/1.0")
def test_g_bytes_2_a_body_that_the_close_ends(
    worker: RawWorker, client: RawClient, body: bytes, kind: Field, at: list[int], version: bytes
) -> None:
    worker.script = saying(*cut(version + b" 200 OK\r\n" + lines([kind]) + b"\r\n" + body, at), close=True)
    told = client.ask(request())
    assert told.body == body
    # The client's connection is not ended by that: its body comes in chunks, or is told to be empty.
    assert client.ask(request()).status == 200


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_g_bytes_2_an_http_1_0_answer(worker: RawWorker, client: RawClient, connection: bytes) -> None:
    worker.script = saying(answer(b"old", version=b"HTTP/1.0", fields=[(b"connection", connection)]))
    for _ in range(3):
        told = client.ask(request())
        assert (told.status_line, told.body) == (b"HTTP/1.1 200 OK", b"old")


def test_g_bytes_2_each_chunk_goes_on_when_it_is_whole(worker: RawWorker, client: RawClient) -> None:
    """Not sooner, not later: half of one is held back, a whole one waits for nothing."""
    first, second = b"data: first\n\n", b"data: second\n\n"
    go_on = threading.Event()

    def script(asked: Asked) -> None:
        _ = asked.body
        whole = chunk(first) + chunk(second)
        asked.line.send(bodiless(b"200 OK", [STREAM, CHUNKED]) + whole[: len(chunk(first)) + 8])
        assert go_on.wait(30)
        asked.line.send(whole[len(chunk(first)) + 8 :] + in_chunks([]))

    worker.script = script
    client.send(request())
    assert client.read_head().status == 200
    assert client.read_chunk() == first
    assert client.held == b""
    go_on.set()
    assert (client.read_chunk(), client.read_chunk()) == (second, b"")


def test_g_bytes_2_a_chunk_a_byte_at_a_time(worker: RawWorker, client: RawClient) -> None:
    chunks = [b"data: a\n\n", b"d", b"data: [DONE]\n\n"]
    whole = chunked(*chunks)
    worker.script = saying(*cut(whole, range(len(whole))))
    assert client.ask(request()).chunks == chunks


@pytest.mark.parametrize("size", [65_536, 65_537, 200_000, 5_000_000])
def test_a_chunk_of_more_than_64_kb_may_come_in_pieces(worker: RawWorker, client: RawClient, size: int) -> None:
    """It is not held until it is whole: a worker's chunk must not become the router's memory."""
    big = random.Random(size).randbytes(size)
    worker.script = saying(chunked(b"before", big, b"after"))
    told = client.ask(request())
    assert told.chunks is not None
    assert (told.chunks[0], told.chunks[-1]) == (b"before", b"after")
    assert zlib.crc32(b"".join(told.chunks[1:-1])) == zlib.crc32(big)
    assert len(told.chunks) == 3 or size > 65_536


@pytest.mark.parametrize(
    "upload",
    [
        b"3;name=value\r\nabc\r\n0;last\r\nx-checksum: 1\r\n\r\n",
        b"0003\r\nabc\r\n000\r\nset-cookie: evil\r\n\r\n",
    ],
)
def test_extensions_of_chunks_and_trailers_end_at_the_router(
    worker: RawWorker, client: RawClient, upload: bytes
) -> None:
    worker.script = saying(bodiless(b"200 OK", [(b"Trailer", b"x-checksum"), STREAM, CHUNKED]) + upload)
    told = client.ask(request())
    assert told.chunks == [b"abc"]
    assert {b"trailer", b"x-checksum", b"set-cookie"}.isdisjoint(name for name, _ in told.fields)
    assert client.ask(request()).chunks == [b"abc"]


@pytest.mark.parametrize("endless", [b"0\r\nx: ", b"1;"], ids=["trailer", "extension"])
def test_what_is_no_body_has_a_limit(router: Router, worker: RawWorker, client: RawClient, endless: bytes) -> None:
    """It is the router's memory until it ends; the client sees the break, and nobody else does."""

    def script(asked: Asked) -> None:
        _ = asked.body
        asked.line.send(bodiless(b"200 OK", [STREAM, CHUNKED]) + chunk(b"data: a\n\n") + endless)
        for _ in range(1000):
            asked.line.send(b"v" * 10_000)

    worker.script = script
    client.send(request())
    assert client.read_head().status == 200
    assert client.read_chunk() == b"data: a\n\n"
    assert not client.read_rest().endswith(b"0\r\n\r\n")
    worker.script = saying(answer(b"next"))
    with RawClient(router.port) as another:
        assert another.ask(request()).body == b"next"


# --- answers without a body ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [JSON, STREAM])
@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"204 No Content", b"304 Not Modified"])
def test_g_bytes_2_the_answer_to_head(worker: RawWorker, client: RawClient, status: bytes, kind: Field) -> None:
    """It has the length that the answer to GET would have, and none where that one has none."""
    for framing, lengths in (([(b"content-length", b"1234")], [b"1234"]), ([CHUNKED], []), ([], [])):
        worker.script = saying(bodiless(status, [kind, *framing]))
        told = client.ask(request(method=b"HEAD"))
        assert told.values(b"content-length") == lengths
        assert told.values(b"content-type") == [kind[1]]
        assert not told.values(b"transfer-encoding")
    # Both connections are in step.
    worker.script = saying(answer(b"next"))
    assert client.ask(request(method=b"GET")).body == b"next"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("framing", [[], [(b"content-length", b"0")], [(b"etag", b'"a"')]])
def test_g_bytes_2_statuses_without_a_body(
    worker: RawWorker, client: RawClient, status: bytes, framing: list[Field]
) -> None:
    worker.script = saying(bodiless(status, framing))
    for _ in range(3):
        told = client.ask(request(method=b"GET"))
        assert told.status == int(status[:3])
        assert not told.values(b"content-length") + told.values(b"transfer-encoding")
        assert told.values(b"etag") == [value for name, value in framing if name == b"etag"]
    worker.script = saying(answer(b"next"))
    assert client.ask(request(method=b"GET")).body == b"next"


@pytest.mark.parametrize("interim", [100, 102, 103])
@pytest.mark.parametrize("apart", [False, True])
def test_g_bytes_2_interim_answers_end_at_the_router(
    worker: RawWorker, client: RawClient, interim: int, *, apart: bool
) -> None:
    before = bodiless(b"%d Early" % interim, [(b"Link", b"</style.css>"), (b"X-Early", b"1")])
    final = chunked(b"a", b"b", fields=[STREAM, (b"x-late", b"1")])
    worker.script = saying(before, before, final) if apart else saying(before + before + final)
    told = client.ask(request())
    assert (told.interim, told.chunks, told.values(b"x-late")) == ([], [b"a", b"b"], [b"1"])
    assert not told.values(b"x-early") + told.values(b"link")


# --- codings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"zstd", b"identity", b"made-up, gzip"])
@pytest.mark.parametrize("framing", ["length", "chunks", "close"])
def test_g_bytes_2_a_coded_body_is_not_touched(
    worker: RawWorker, client: RawClient, coding: bytes, framing: str
) -> None:
    """Bytes are bytes: for all but gzip these are none that the coding could make."""
    body = gzip.compress(b"words " * 1000) if coding == b"gzip" else random.Random(1).randbytes(3000)
    fields = [JSON, (b"Content-Encoding", coding), (b"Vary", b"Accept-Encoding")]
    match framing:
        case "length":
            worker.script = saying(answer(body, fields=fields))
        case "chunks":
            worker.script = saying(chunked(body[:1000], body[1000:], fields=fields))
        case _:
            worker.script = saying(bodiless(b"200 OK", fields) + body, close=True)
    told = client.ask(request(fields=[(b"Accept-Encoding", b"gzip, br;q=0.5, zstd")]))
    assert told.body == body
    assert told.values(b"content-encoding") == [coding]
    assert worker.taken().values(b"accept-encoding") == [b"gzip, br;q=0.5, zstd"]


# --- clients of HTTP/1.0 ---------------------------------------------------------------------------------


def test_g_bytes_2_an_http_1_0_client_gets_the_same_body(worker: RawWorker, client: RawClient) -> None:
    worker.script = saying(chunked(b"one", b"two"))
    told = client.ask(b"GET /a HTTP/1.0\r\n\r\n")
    assert (told.status_line, told.body, told.chunks) == (b"HTTP/1.0 200 OK", b"onetwo", None)
    assert worker.taken().request_line == b"GET /a HTTP/1.1"


# --- everything at once ----------------------------------------------------------------------------------


def random_answer(rng: random.Random) -> tuple[Script, bytes, list[bytes] | None]:
    """A script, the body that it sends, and the chunks if it sends such."""
    body = random_body(rng)
    kind = rng.choice([JSON, STREAM])
    pieces = random_pieces(rng, body)
    form = rng.random()
    if form < 0.5:
        whole = chunked(*pieces, fields=[kind])
    elif form < 0.9:
        whole = answer(body, fields=[kind])
    else:
        whole = bodiless(b"200 OK", [kind]) + body
    kept = pieces if form < 0.5 and pieces and max(map(len, pieces)) <= 65_536 else None
    return saying(*random_pieces(rng, whole), close=form >= 0.9), body, kept


def random_downloads(port: int, first: int, count: int) -> None:
    """Ask on one connection for the answers that the numbers stand for."""
    with RawClient(port) as client:
        for number in range(first, first + count):
            _, body, chunks = random_answer(random.Random(number))
            told = client.ask(request(b"/%d" % number, body=b"{}"))
            assert (len(told.body), zlib.crc32(told.body)) == (len(body), zlib.crc32(body)), number
            assert chunks is None or told.chunks == chunks, number


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)], ids=lambda count: f"{count} answers"
)
def test_g_bytes_2_random_answers(router: Router, worker: RawWorker, count: int) -> None:
    def say(asked: Asked) -> None:
        number = int(asked.request_line.split(b" ")[1][1:])
        random_answer(random.Random(number))[0](asked)

    worker.script = say
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(random_downloads, router.port, first * count, count // 4) for first in range(4)]:
            done.result()
    assert len(worker.take()) == count
