"""What `dataplane/socket_client.py` relies on in granian's WebSockets, each fact on its own."""

from __future__ import annotations

import socket as sockets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from dataplane.server import Transaction, waiting
from tests.integration.routers import eventually
from tests.integration.test_server_facts import serving

Told = list[dict[str, Any]]


def socket_to(port: int, **options: Any) -> ClientConnection:
    opened: ClientConnection = connect(f"ws://127.0.0.1:{port}/any", max_size=None, compression=None, **options)
    return opened


def accepting(told: Told, subprotocol: str | None = None) -> Callable[[Transaction], None]:
    """Accept, send everything back, one at a time, and keep what came."""

    def handler(transaction: Transaction) -> None:
        proto = transaction.proto
        assert transaction.scope["type"] == "websocket"
        # The first message is there at once, and says nothing.
        assert waiting(proto.receive()) is None

        def listen(_: Any) -> None:
            operation = waiting(proto.receive())
            assert operation is not None
            operation.add_done_callback(hear)

        def hear(operation: Any) -> None:
            message = operation.result()
            told.append(message)
            if message["type"] == "websocket.receive":
                answer = waiting(proto.send({**message, "type": "websocket.send"}))
                assert answer is not None
                answer.add_done_callback(listen)
            else:
                transaction.done()

        accepted = waiting(proto.send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []}))
        assert accepted is not None
        accepted.add_done_callback(listen)

    return handler


def test_messages_come_whole_and_the_clients_code_is_told() -> None:
    told: Told = []
    with serving(accepting(told, "b")) as port, socket_to(port, subprotocols=["a", "b"]) as socket:
        assert socket.subprotocol == "b"
        # In two frames, with a ping between.
        socket.send(["a text ", "in frames"])
        socket.ping().wait(30)
        assert socket.recv() == "a text in frames"
        large = bytes(2_000_000)
        socket.send(large)
        assert socket.recv() == large
        socket.close(4001)
        eventually(lambda: len(told) == 3, "the client's leaving")
    assert [message.get("code") for message in told] == [None, None, 4001]


def test_a_message_above_16_mib_closes_the_socket() -> None:
    told: Told = []
    with serving(accepting(told)) as port, socket_to(port) as socket:
        # It may be closed before all of it is sent.
        with suppress(ConnectionClosed):
            socket.send(bytes(16 * 1024 * 1024 + 1))
        with pytest.raises(ConnectionClosed):
            socket.recv()
        eventually(lambda: bool(told), "the leaving")
    assert [message["type"] for message in told] == ["websocket.disconnect"]


def test_a_socket_is_refused_by_an_ordinary_answer() -> None:
    def handler(transaction: Transaction) -> None:
        proto = transaction.proto
        waiting(proto.receive())
        start = {"type": "websocket.http.response.start", "status": 403, "headers": [(b"x-why", b"because")]}
        proto.send(start)
        sent = waiting(proto.send({"type": "websocket.http.response.body", "body": b"no", "more_body": False}))
        assert sent is not None
        sent.add_done_callback(lambda _: transaction.done())

    with serving(handler) as port, pytest.raises(InvalidStatus) as caught, socket_to(port):
        pass
    response = caught.value.response
    assert (response.status_code, response.body, response.headers["x-why"]) == (403, b"no", "because")


def test_a_socket_that_is_closed_here_tells_the_client_why() -> None:
    def handler(transaction: Transaction) -> None:
        proto = transaction.proto
        waiting(proto.receive())

        def close(_: Any) -> None:
            closing = waiting(proto.send({"type": "websocket.close", "code": 1011, "reason": "over"}))
            assert closing is not None
            closing.add_done_callback(lambda _: transaction.done())

        accepted = waiting(proto.send({"type": "websocket.accept", "subprotocol": None, "headers": []}))
        assert accepted is not None
        accepted.add_done_callback(close)

    with serving(handler) as port, socket_to(port) as socket, pytest.raises(ConnectionClosed) as caught:
        socket.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1011, "over")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("Sec-WebSocket-Version: 13\r\n", b'No "Sec-WebSocket-Key" header'),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b'No "Sec-WebSocket-Version: 13" header'),
    ],
)
def test_a_handshake_that_lacks_something_is_refused_before_it_is_announced(fields: str, words: bytes) -> None:
    """So neither the shape of that answer nor what is counted and logged of it is ours to say."""
    announced: list[Transaction] = []
    with serving(announced.append) as port, sockets.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(
            f"GET /any HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n{fields}\r\n".encode()
        )
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\n" + words)
    assert announced == []
