"""Nothing of a request is kept once it is over: granian's objects are not the garbage collector's to see into."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvloop

from dataplane.arrivals import Arrivals
from dataplane.client import Client
from dataplane.listening import bind
from dataplane.server import HttpServer
from tests.integration.routers import eventually, free_ports

POST = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n"


class Echo:
    """Answers each request with its body; a request may be watched before, as slow ones are."""

    def __init__(self, *, watched: bool) -> None:
        self.taken = 0
        self._watched = watched

    def handle(self, client: Client) -> None:
        self.taken += 1

        def answer(body: bytes | bytearray) -> None:
            if self._watched:
                client.watch()
            client.answer(200, [(b"content-length", b"%d" % len(body))], bytes(body))
            client.close()

        client.read_body(1000, answer, client.close)


@contextmanager
def serving(echo: Echo) -> Iterator[int]:
    (port,) = free_ports(1)
    running: list[tuple[asyncio.AbstractEventLoop, HttpServer]] = []

    async def main() -> None:
        server = HttpServer(Arrivals(echo.handle).announce, connections=256)
        running.append((asyncio.get_running_loop(), server))
        await server.serve(bind("127.0.0.1", port))

    thread = threading.Thread(target=uvloop.run, args=(main(),))
    thread.start()
    try:
        eventually(lambda: bool(running) and running[0][1].listening and connects(port), "the server to listen")
        yield port
    finally:
        loop, server = running[0]
        loop.call_soon_threadsafe(server.stop)
        thread.join()


def connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def clients() -> int:
    gc.collect()
    return sum(issubclass(type(each), Client) for each in gc.get_objects())


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("kind", ["whole", "in two parts", "asks first", "leaves"])
def test_a_request_that_is_over_is_gone(kind: str, watched: bool) -> None:
    echo = Echo(watched=watched)
    with serving(echo) as port:
        for number in range(1, 21):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(POST + (b"expect: 100-continue\r\n" if kind == "asks first" else b"") + b"\r\n")
                if kind == "leaves":
                    connection.sendall(b"ab")
                    eventually(lambda wanted=number: echo.taken == wanted, "the request")  # type: ignore[misc]
                    continue
                if kind == "in two parts":
                    connection.sendall(b"ab")
                    eventually(lambda wanted=number: echo.taken == wanted, "the first part")  # type: ignore[misc]
                    connection.sendall(b"cd")
                else:
                    connection.sendall(b"abcd")
                answer = b""
                while not answer.endswith(b"\r\n\r\nabcd"):
                    answer += connection.recv(65536)
        eventually(lambda: clients() == 0, "the last of them to go")
