"""G-BYTES-2 where the worker answers before the request's end: the client gets that answer, no error of the router."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.integration.bytes.messages import STREAM, answer, bodiless, chunked, request
from tests.integration.bytes.raw_client import RawClient
from tests.integration.bytes.raw_worker import Asked, Line, RawWorker

REFUSAL = b'{"error":{"message":"too large"}}'
# More than what the kernel's buffers take: the router is still writing when the answer comes.
BODY = b'{"model":"m","prompt":"' + b"x" * 20_000_000 + b'"}'


def closes(line: Line) -> None:
    """With unread bytes: the kernel sends a reset."""
    line.close()


def resets(line: Line) -> None:
    line.reset()


def reads_some_and_closes(line: Line) -> None:
    line.read(1_000_000)
    line.close()


def half_closes_and_reads_on(line: Line) -> None:
    line.connection.shutdown(socket.SHUT_WR)
    line.drained()


@pytest.mark.parametrize(
    "then", [closes, resets, reads_some_and_closes, half_closes_and_reads_on], ids=lambda then: then.__name__
)
@pytest.mark.parametrize("read_before", [0, 1, 500_000], ids=lambda size: f"{size} bytes read")
@pytest.mark.parametrize("form", ["whole", "long", "chunks"])
def test_g_bytes_2_an_answer_before_the_uploads_end(
    worker: RawWorker, client: RawClient, then: Callable[[Line], None], read_before: int, form: str
) -> None:
    # A reset takes along what the router has not received yet, so these fit into the kernel's buffers.
    body = REFUSAL * (1 if form == "whole" else 1000)
    kind = (b"content-type", b"application/json")
    if form == "chunks":
        raw = chunked(body[:1000], body[1000:], status=b"413 Payload Too Large", fields=[kind])
    else:
        raw = answer(body, status=b"413 Payload Too Large", fields=[kind])

    def script(asked: Asked) -> None:
        asked.line.read(read_before)
        asked.line.send(raw)
        then(asked.line)

    worker.script = script
    told = client.ask(request(body=BODY))
    assert (told.status, told.body) == (413, body)
    # Neither side's connection is out of step.
    worker.script = lambda asked: asked.line.send(answer(b"%d" % len(asked.body)))
    assert client.ask(request(body=b"{}")).body == b"2"


@pytest.mark.parametrize("length", [2, 200_000])
def test_g_bytes_2_an_answer_of_a_worker_that_reads_on(worker: RawWorker, client: RawClient, length: int) -> None:
    def script(asked: Asked) -> None:
        asked.line.send(answer(b"x" * length, status=b"401 Unauthorized"))
        _ = asked.body

    worker.script = script
    for _ in range(3):
        told = client.ask(request(body=BODY))
        assert (told.status, told.body) == (401, b"x" * length)


def test_g_bytes_2_a_stream_that_begins_before_the_uploads_end(worker: RawWorker, client: RawClient) -> None:
    def script(asked: Asked) -> None:
        whole = chunked(b"data: a\n\n", b"data: b\n\n")
        asked.line.send(whole[:-20])
        _ = asked.body
        asked.line.send(whole[-20:])

    worker.script = script
    for _ in range(3):
        assert client.ask(request(body=BODY)).chunks == [b"data: a\n\n", b"data: b\n\n"]


def test_an_early_answer_that_the_reset_cuts_off_is_none(worker: RawWorker, client: RawClient) -> None:
    def script(asked: Asked) -> None:
        asked.line.send(bodiless(b"413 Payload Too Large", [STREAM, (b"content-length", b"100")]) + b"half")
        resets(asked.line)

    worker.script = script
    assert client.ask(request(body=BODY)).status == 502
