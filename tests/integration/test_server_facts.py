"""What `dataplane/server.py` relies on in granian, each fact on its own: an upgrade that breaks one shows here."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h2.connection
import h2.events
import pytest
import uvloop
from h2.errors import ErrorCodes

from dataplane.listening import Listener, bind
from dataplane.server import HttpServer, Transaction, waiting
from tests.integration.routers import eventually, free_ports

SSE = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
PLAIN = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


def body(data: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


@contextmanager
def serving(handler: Callable[[Transaction], None], listener: Listener | None = None) -> Iterator[int]:
    """Serve with `handler` in a loop of another thread; yields the port."""
    listener = listener or bind("127.0.0.1", free_ports(1)[0])
    port = listener.socket.getsockname()[1]
    loops: list[asyncio.AbstractEventLoop] = []

    def announce(transaction: Transaction) -> None:
        loops[0].call_soon_threadsafe(handler, transaction)

    server = HttpServer(announce, connections=256)

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(listener)

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


def test_a_client_that_sent_ahead_is_seen_to_leave_only_when_it_is_answered() -> None:
    """The next request, or whatever it is, lies in the server's buffer, and while it does nothing more is read."""
    transactions: list[Transaction] = []
    heard: list[str] = []

    def handler(transaction: Transaction) -> None:
        def note(operation: Any) -> None:
            heard.append(operation.result()["type"])
            if len(heard) == 1:
                transaction.proto.receive().add_done_callback(note)

        transactions.append(transaction)
        transaction.proto.receive().add_done_callback(note)
        transaction.proto.send(SSE)
        loops.append(asyncio.get_running_loop())

    loops: list[asyncio.AbstractEventLoop] = []
    with serving(handler) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
            eventually(lambda: heard == ["http.request"], "the request")
        assert heard == ["http.request"]

        def answer() -> bool:
            loops[0].call_soon_threadsafe(transactions[0].proto.send, body(b"more", more=True))
            return heard == ["http.request", "http.disconnect"]

        eventually(answer, "the leaving")
        loops[0].call_soon_threadsafe(transactions[0].done)


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


# --- HTTP/2 ------------------------------------------------------------------------------------------------


class Http2:
    """A client that speaks HTTP/2 by prior knowledge."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()

    def ask(self, path: str, body: bytes = b"", *, whole: bool = True) -> int:
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "x")]
        self.h2.send_headers(stream, headers, end_stream=whole and not body)
        if body:
            self.h2.send_data(stream, body, end_stream=whole)
        self.flush()
        return stream

    def reset(self, stream: int, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        self.h2.reset_stream(stream, code)
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def events(self) -> list[h2.events.Event]:
        return self.h2.receive_data(self.socket.recv(65536))


class Listening:
    """Notes what each request hears, by its path; begins to answer those under /stream."""

    def __init__(self) -> None:
        self.heard: dict[str, list[str]] = {}

    def __call__(self, transaction: Transaction) -> None:
        path: str = transaction.scope["path"]
        heard = self.heard[path] = []

        def listen() -> None:
            operation = waiting(transaction.proto.receive())
            assert operation is not None
            operation.add_done_callback(note)

        def note(operation: Any) -> None:
            message = operation.result()
            more = message.get("more_body")
            heard.append({True: "part", False: "end", None: "left"}[more])
            if more is None:
                transaction.done()
            else:
                listen()

        listen()
        if path.startswith("/stream"):
            transaction.proto.send(SSE)
            transaction.proto.send(body(b"first", more=True))

    def hears(self, path: str, *what: str) -> None:
        eventually(lambda: self.heard.get(path) == list(what), f"{path} to hear {what}")


@pytest.mark.parametrize("path", ["/silent", "/stream"])
def test_a_stream_that_is_reset_is_a_leaving_of_its_request_only(path: str) -> None:
    listening = Listening()
    with serving(listening) as port:
        client = Http2(port)
        client.ask("/stream/other")
        stream = client.ask(path)
        for each in ("/stream/other", path):
            listening.hears(each, "end")
        client.reset(stream)
        listening.hears(path, "end", "left")
        client.ask("/stream/later")
        listening.hears("/stream/later", "end")
        assert listening.heard["/stream/other"] == ["end"]
        client.socket.close()


def test_a_stream_that_is_reset_in_its_body_is_a_leaving() -> None:
    listening = Listening()
    with serving(listening) as port:
        client = Http2(port)
        stream = client.ask("/half", b"half", whole=False)
        listening.hears("/half", "part")
        client.reset(stream)
        listening.hears("/half", "part", "left")
        client.socket.close()


def test_a_stream_that_is_reset_without_an_error_in_its_body_looks_ended_and_has_left() -> None:
    listening = Listening()
    with serving(listening) as port:
        client = Http2(port)
        stream = client.ask("/half", b"half", whole=False)
        listening.hears("/half", "part")
        client.reset(stream, ErrorCodes.NO_ERROR)
        listening.hears("/half", "part", "end", "left")
        client.socket.close()


def test_a_connection_that_is_closed_is_a_leaving_of_all_its_requests() -> None:
    listening = Listening()
    paths = [f"{kind}/{number}" for kind in ("/silent", "/stream") for number in range(20)]
    with serving(listening) as port:
        client = Http2(port)
        for path in paths:
            client.ask(path)
        for path in paths:
            listening.hears(path, "end")
        client.socket.close()
        for path in paths:
            listening.hears(path, "end", "left")


def test_an_answer_that_is_not_ended_is_a_reset_stream() -> None:
    def handler(transaction: Transaction) -> None:
        transaction.proto.send(SSE)
        transaction.proto.send(body(b"half", more=True))
        asyncio.get_running_loop().call_later(0.05, transaction.done)

    with serving(handler) as port:
        client = Http2(port)
        client.ask("/")
        seen: list[h2.events.Event] = []
        while not any(isinstance(event, h2.events.StreamReset | h2.events.StreamEnded) for event in seen):
            seen += client.events()
        assert isinstance(seen[-1], h2.events.StreamReset)
        client.socket.close()


def test_a_socket_put_in_the_listeners_place_ends_the_taking_of_clients_and_no_connection() -> None:
    def handler(transaction: Transaction) -> None:
        transaction.proto.send({"type": "http.response.start", "status": 204, "headers": []})
        transaction.proto.send(body(b"", more=False))
        transaction.done()

    listener = bind("127.0.0.1", free_ports(1)[0])
    with (
        listener.socket.dup() as successor,
        serving(handler, listener) as port,
        socket.create_connection(("127.0.0.1", port)) as kept,
    ):
        for withdrawn in (False, True, True):
            kept.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert kept.recv(1000).startswith(b"HTTP/1.1 204")
            if not withdrawn:
                listener.withdraw()
        with socket.create_connection(("127.0.0.1", port)) as late:
            late.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            kept.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert kept.recv(1000).startswith(b"HTTP/1.1 204")
            successor.setblocking(True)
            taken, _ = successor.accept()
            with taken:
                assert taken.recv(1000).startswith(b"GET /")


def test_a_server_that_says_that_it_listens_does_so() -> None:
    """The ready line, and the end of a plane that is replaced, rest on it; granian itself listens a moment later."""

    async def main() -> int:
        listener = bind("127.0.0.1", free_ports(1)[0])
        port = listener.socket.getsockname()[1]
        server = HttpServer(lambda _: None, connections=256)
        serving = asyncio.create_task(server.serve(listener))
        while not server.listening:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)
        with socket.socket() as probe:
            came = probe.connect_ex(("127.0.0.1", port))
        server.stop()
        await serving
        return came

    assert uvloop.run(main()) == 0
