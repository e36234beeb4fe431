"""Workers that hold each request for a time: `python -m benchlib.admission_worker SECONDS SPREAD WORKERS`.

They are so many loopback addresses of one port. The process prints that, then, for each line on stdin, what it has seen
since the line before. It does as many requests at a time as come: the limit is the router's to keep. The first byte
comes after half of the time, as a prompt has to be computed before; the rest is as long, give or take a part `SPREAD`
of it, as answers have different lengths.
"""

import asyncio
import random
import sys
import time
from typing import cast

import msgspec
import uvloop

from benchlib.admission_wire import Seen
from benchlib.net import free_ports
from benchlib.upstream import worker_address

_MODELS = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_FIRST = b"9\r\ndata: 1\n\n\r\n"
_END = b"0\r\n\r\n"
_LENGTH = b"content-length: "

_clock = time.monotonic


class Figures:
    """What is open, and what came."""

    def __init__(self) -> None:
        self.open = 0
        self._reset()

    def _reset(self) -> None:
        self._since = self._changed = _clock()
        self._begun: list[float] = []
        self._peak = self.open
        self._area = 0.0

    def change(self, by: int) -> None:
        """Count a request that has come, or one that has ended."""
        now = _clock()
        self._area += self.open * (now - self._changed)
        self._changed = now
        self.open += by
        if by > 0:
            self._begun.append(now)
            self._peak = max(self._peak, self.open)

    def read(self) -> Seen:
        """Return what was seen, and begin anew."""
        self.change(0)
        until = self._changed
        seen = Seen(self._since, until, self._begun, self._area / (until - self._since), self._peak)
        self._reset()
        return seen


class Connection(asyncio.Protocol):
    """One connection from a router."""

    def __init__(self, figures: Figures, seconds: float, spread: float) -> None:
        self._figures = figures
        self._half = seconds / 2
        self._spread = spread
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is not a subclass

    def data_received(self, data: bytes) -> None:
        data = self._data = self._data + data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            return
        start = data.lower().find(_LENGTH, 0, head)
        length = int(data[start + len(_LENGTH) : data.index(b"\r\n", start)]) if start >= 0 else 0
        if len(data) < head + 4 + length:
            return
        self._data = b""
        if data.startswith(b"POST"):
            self._figures.change(1)
            self._timer = self._loop.call_later(self._half, self._begin)
            return
        line = data[: data.index(b"\r\n")]
        status = b"404 Not Found" if b"/metrics" in line else b"200 OK"
        body = _MODELS if b"/v1/models" in line else b""
        self._transport.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))

    def _begin(self) -> None:
        self._transport.write(_HEAD + _FIRST)
        rest = self._half * random.uniform(1 - self._spread, 1 + self._spread)
        self._timer = self._loop.call_later(rest, self._end)

    def _end(self) -> None:
        self._timer = None
        self._figures.change(-1)
        self._transport.write(_END)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._figures.change(-1)


async def serve(seconds: float, spread: float, workers: int) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    figures = Figures()
    (port,) = free_ports(1)
    hosts = [worker_address(number) for number in range(workers)]
    server = await loop.create_server(lambda: Connection(figures, seconds, spread), hosts, port, backlog=1024)
    print(port, flush=True)
    ended = loop.create_future()

    def asked() -> None:
        if sys.stdin.readline():
            print(msgspec.json.encode(figures.read()).decode(), flush=True)
        elif not ended.done():
            ended.set_result(None)

    loop.add_reader(sys.stdin.fileno(), asked)
    await ended
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
