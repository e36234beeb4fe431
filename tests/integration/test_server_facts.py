"""What `dataplane/server.py` relies on in granian, each fact on its own: an upgrade that breaks one shows here."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvloop

from dataplane.server import HttpServer, Transaction, waiting
from tests.integration.routers import eventually, free_ports

SSE = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
PLAIN = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


def body(data: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


@contextmanager
def serving(handler: Callable[[Transaction], None]) -> Iterator[int]:
    """Serve with `handler` in a loop of another thread; yields the port."""
    (port,) = free_ports(1)
    loops: list[asyncio.AbstractEventLoop] = []

    def announce(transaction: Transaction) -> None:
        loops[0].call_soon_threadsafe(handler, transaction)

    server = HttpServer(announce, host="127.0.0.1", port=port, connections=256)

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=uvloop.run, args=(main(),))
    thread.start()
    try:
        eventually(lambda: server.listening and _connects(port), "the server to listen")
        yield port
    finally:
        loops[0].call_soon_threadsafe(server.stop)
        thread.join()


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(port: int, request: bytes = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n") -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("start", [SSE, PLAIN])
def test_an_answer_that_is_not_ended_is_cut_off(start: dict[str, Any]) -> None:
    def handler(transaction: Transaction) -> None:
        transaction.proto.send(start)
        transaction.proto.send(body(b"half", more=True))
        asyncio.get_running_loop().call_later(0.05, transaction.done)

    with serving(handler) as port:
        answer = ask(port)

    assert b"4\r\nhalf\r\n" in answer
    assert not answer.endswith(b"0\r\n\r\n")


def test_a_request_let_go_without_an_answer_gets_a_500() -> None:
    with serving(lambda transaction: transaction.done()) as port:
        assert ask(port).startswith(b"HTTP/1.1 500 ")


def test_a_reader_that_stops_fills_the_queue_and_send_calls_back_when_there_is_room() -> None:
    """40 MB, of which the kernel and the queue take some; the rest is sent when the client reads on."""
    messages, size = 200, 200_000
    sent = [0]
    ended = threading.Event()

    def handler(transaction: Transaction) -> None:
        def go_on(_: Any) -> None:
            while sent[0] < messages:
                sent[0] += 1
                operation = waiting(transaction.proto.send(body(b"x" * size, more=True)))
                if operation is not None:
                    operation.add_done_callback(go_on)
                    return
            ended.set()
            transaction.proto.send(body(b"", more=False))
            transaction.done()

        transaction.proto.send(SSE)
        go_on(None)

    with serving(handler) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        before = -1

        def settled() -> bool:
            nonlocal before
            still, before = sent[0] == before > 0, sent[0]
            return still

        eventually(settled, "the queue to fill")
        assert 4 <= sent[0] < messages
        received = sum(map(len, iter(lambda: connection.recv(1 << 20), b"")))

    assert ended.is_set()
    assert received > messages * size


def test_receive_gives_the_body_then_its_end_then_the_leaving() -> None:
    heard: list[tuple[str, bytes, bool]] = []

    def handler(transaction: Transaction) -> None:
        def listen() -> None:
            operation = waiting(transaction.proto.receive())
            assert operation is not None
            operation.add_done_callback(note)

        def note(operation: Any) -> None:
            message = operation.result()
            heard.append((message["type"], message.get("body", b""), message.get("more_body", False)))
            if message["type"] == "http.request":
                listen()
            else:
                assert waiting(transaction.proto.receive()) is None
                transaction.done()

        listen()

    with serving(handler) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
            eventually(lambda: len(heard) >= 2, "the body and its end")
        eventually(lambda: len(heard) == 3, "the leaving")

    assert heard == [("http.request", b"abc", True), ("http.request", b"", False), ("http.disconnect", b"", False)]


def test_a_half_close_is_a_leaving() -> None:
    heard: list[str] = []

    def handler(transaction: Transaction) -> None:
        def note(operation: Any) -> None:
            heard.append(operation.result()["type"])
            if heard == ["http.request"]:
                transaction.proto.receive().add_done_callback(note)
            else:
                transaction.done()

        transaction.proto.receive().add_done_callback(note)

    with serving(handler) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        eventually(lambda: heard == ["http.request"], "the request")
        connection.shutdown(socket.SHUT_WR)
        eventually(lambda: heard == ["http.request", "http.disconnect"], "the leaving")


def test_the_raw_path_is_what_the_client_wrote() -> None:
    paths: list[bytes] = []

    def handler(transaction: Transaction) -> None:
        paths.append(transaction.scope["raw_path"])
        transaction.proto.send(PLAIN)
        transaction.proto.send(body(b"", more=False))
        transaction.done()

    with serving(handler) as port:
        ask(port, b"GET /a%2Fb/%C3%A9?q=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")

    assert paths == [b"/a%2Fb/%C3%A9"]
