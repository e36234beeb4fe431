"""A worker that answers and resets while we still write: on real sockets, as only the kernel knows what is left."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
import uvloop

from dataplane.upstream.connection import UpstreamConnection
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.upstream.fake_transport import Sink
from tests.unit.dataplane.upstream.test_connection import OK, chunked, with_length

BODY = b"x" * 5_000_000
NewLoop = Callable[[], asyncio.AbstractEventLoop]


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


async def lost_while_writing(answer: bytes) -> tuple[Sink, list[UpstreamConnection]]:
    """The answer and the reset are there before we write, and writing fails before we read."""
    released: list[UpstreamConnection] = []
    sink = Sink()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: UpstreamConnection(released.append), "127.0.0.1", port)
        worker, _ = listener.accept()
        worker.sendall(answer)
        reset(worker)
        connection.send(b"POST / HTTP/1.1\r\n\r\n", BODY, sink, bodiless_answer=False)
        await until(lambda: connection.closed)
        await asyncio.sleep(0)
    return sink, released


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("answer", [with_length(b"too large"), with_length(b"x" * 30_000), chunked(b"too", b" large")])
def test_the_answer_is_read_though_writing_failed(new_loop: NewLoop, answer: bytes) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        sink, released = runner.run(lost_while_writing(answer))
    assert sink.events == "hbc"
    assert not released


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize(
    ("answer", "events"),
    [(b"", "x"), (OK[:9], "x"), (with_length(b"too large")[:-1], "hbx"), (OK + b"\r\nuntil close", "hbx")],
    ids=["nothing", "half a head", "half a body", "a body that only a clean close ends"],
)
def test_what_is_not_whole_stays_broken(new_loop: NewLoop, answer: bytes, events: str) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        sink, released = runner.run(lost_while_writing(answer))
    assert sink.events == events
    assert not released
