"""The clients, in a process of their own: `python -m benchlib.loadgen SPEC`.

Connects, warms up, prints `ready`, and waits for a line on stdin. The bench reads the router's CPU
clocks before it writes that line and after it has read the result, so warm-up and connecting are
outside of the measurement. A held load goes on until stdin ends: each line asks for a result.
"""

import asyncio
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import cast

import httptools
import msgspec
import uvloop

from benchlib import canned
from benchlib.pacer import Pacer
from benchlib.stats import quantile
from benchlib.wire import LoadResult, LoadSpec

_clock = time.monotonic


class Connection(asyncio.Protocol):
    """One client connection; has at most one request in flight."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is not a subclass

    def send(self, due: float) -> None:
        """Send the run's request; its latency counts from `due`."""
        assert self._transport is not None
        self.busy = True
        self._due = due
        self._first = 0.0
        self._size = 0
        self._tail = b""
        self._transport.write(self._run.request)

    def close(self) -> None:
        self.busy = False
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._run.reads += 1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._run.errors["not HTTP"] += 1
            self.close()

    def on_body(self, body: bytes) -> None:
        if not self._size:
            self._first = _clock()
        self._size += len(body)
        self._run.received += len(body)
        self._tail = body if len(body) >= len(canned.DONE) else self._tail + body

    def on_message_complete(self) -> None:
        now = _clock()
        run = self._run
        if self._parser.get_status_code() != 200:
            self._fail(f"status {self._parser.get_status_code()}")
        elif self._size != run.expected_size:
            self._fail("wrong size")
        elif run.chunks and not self._tail.endswith(canned.DONE):
            self._fail("no [DONE]")
        else:
            run.latencies.append(now - self._due)
            run.ttfbs.append(self._first - self._due)
            self._free()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.busy:
            self._fail("connection lost")
        self._run.replace(self)

    def _fail(self, why: str) -> None:
        self._run.errors[why] += 1
        self._free()

    def _free(self) -> None:
        self.busy = False
        if self._transport is None:
            return
        if self._parser.should_keep_alive():
            self._run.on_idle(self)
        else:
            self._transport.close()


class Run:
    """A set of connections and what came back over them in the present phase."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self._connections: set[Connection] = set()
        self._reconnects: set[asyncio.Task[None]] = set()
        self._closing = False
        self.on_idle: Callable[[Connection], None] = lambda _connection: None
        self.errors: Counter[str] = Counter()
        self._reset(0, 0.0)

    def _reset(self, chunks: int, pace_ms: float) -> None:
        self.chunks = chunks
        self.request = canned.chat_request(f"127.0.0.1:{self.spec.port}", chunks=chunks, pace_ms=pace_ms)
        self.expected_size = canned.expected_size(chunks)
        self._begin()

    def _begin(self) -> None:
        self.latencies: list[float] = []
        self.ttfbs: list[float] = []
        self.reads = 0
        self.received = 0
        self.errors.clear()

    async def connect(self) -> None:
        for _ in range(self.spec.connections):
            await self._connect_one()

    async def _connect_one(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.spec.port)
        except OSError:
            self.errors["cannot connect"] += 1
            return
        self._connections.add(connection)
        self.on_idle(connection)

    def replace(self, connection: Connection) -> None:
        """Replace a connection that the router has closed."""
        self._connections.discard(connection)
        if not self._closing:
            task = asyncio.get_running_loop().create_task(self._connect_one())
            self._reconnects.add(task)
            task.add_done_callback(self._reconnects.discard)

    async def closed_loop(self, seconds: float, requests: int | None, spread_seconds: float = 0.0) -> None:
        """Send on every connection, again and again; return when the last answer is complete.

        The first requests are spread over `spread_seconds`, so that paced streams do not tick as one.
        """
        start = _clock()
        started = 0

        def next_request(connection: Connection) -> None:
            nonlocal started
            now = _clock()
            if (started < requests) if requests is not None else (now - start < seconds):
                started += 1
                connection.send(now)

        self.on_idle = next_request
        connections = list(self._connections)
        if spread_seconds:
            loop = asyncio.get_running_loop()
            for number, connection in enumerate(connections):
                loop.call_later(spread_seconds * number / len(connections), next_request, connection)
            await asyncio.sleep(spread_seconds)
        else:
            for connection in connections:
                next_request(connection)
        await self._settle(lambda: requests is None and _clock() - start < seconds)

    async def open_loop(self, seconds: float, rate: float) -> None:
        """Send `rate` requests per second for `seconds`; those that find no free connection queue."""
        waiting: deque[float] = deque()
        idle = deque(self._connections)

        def dispatch() -> None:
            while waiting and idle:
                connection = idle.popleft()
                if connection in self._connections:
                    connection.send(waiting.popleft())

        def arrive(due: float) -> None:
            waiting.append(due)
            dispatch()

        def free(connection: Connection) -> None:
            idle.append(connection)
            dispatch()

        self.on_idle = free
        pacer = Pacer(rate, arrive)
        try:
            await asyncio.sleep(seconds)
        finally:
            pacer.close()
        await self._settle(lambda: bool(waiting))
        self.errors["never sent"] += len(waiting)

    async def hold(self, asked: asyncio.StreamReader, tell: Callable[[LoadResult], None]) -> None:
        """Send on every connection, again and again, until `asked` ends; tell a result for each of its lines."""
        spec = self.spec
        self._reset(spec.chunks, spec.pace_ms)
        self._check_connected()
        connections = list(self._connections)
        self.on_idle = lambda connection: connection.send(_clock())
        for connection in connections:
            # Paced streams are not to tick as one.
            await asyncio.sleep(spec.pace_ms / 1e3 / len(connections))
            connection.send(_clock())
        cpu, start = time.process_time(), _clock()
        while await asked.readline():
            chunks = round(self.received * self.chunks / self.expected_size)
            tell(self._result(chunks, _clock() - start, time.process_time() - cpu))
            self._begin()
            cpu, start = time.process_time(), _clock()

    async def _settle(self, unfinished: Callable[[], bool]) -> None:
        """Wait while the load is unfinished or an answer is due; then give up what is still due.

        Polling costs 500 wake-ups a second; a count kept at each request would cost each request.
        """
        limit = _clock() + self.spec.seconds + self.spec.grace_seconds
        while unfinished() or any(connection.busy for connection in self._connections):
            if _clock() > limit:
                break
            await asyncio.sleep(0.002)
        self.on_idle = lambda _connection: None
        for connection in [c for c in self._connections if c.busy]:
            self.errors["no answer in time"] += 1
            connection.close()

    async def warm_up(self) -> None:
        """Send small requests for a while; their figures and errors are thrown away."""
        await self.closed_loop(self.spec.warmup_seconds, None)

    async def measure(self) -> LoadResult:
        """Run the load of the spec."""
        spec = self.spec
        self._reset(spec.chunks, spec.pace_ms)
        self._check_connected()
        cpu, start = time.process_time(), _clock()
        if spec.mode == "open":
            await self.open_loop(spec.seconds, spec.rate)
        else:
            await self.closed_loop(spec.seconds, spec.requests, spec.pace_ms / 1e3)
        return self._result(len(self.latencies) * self.chunks, _clock() - start, time.process_time() - cpu)

    def _check_connected(self) -> None:
        if missing := self.spec.connections - len(self._connections):
            self.errors["cannot connect"] += missing

    def _result(self, chunks: int, seconds: float, cpu_seconds: float) -> LoadResult:
        return LoadResult(
            requests=len(self.latencies),
            chunks=chunks,
            seconds=seconds,
            p50_ms=quantile(self.latencies, 0.5) * 1e3,
            p99_ms=quantile(self.latencies, 0.99) * 1e3,
            ttfb_p50_ms=quantile(self.ttfbs, 0.5) * 1e3,
            ttfb_p99_ms=quantile(self.ttfbs, 0.99) * 1e3,
            reads=self.reads,
            client_cpu_seconds=cpu_seconds,
            errors={why: count for why, count in self.errors.items() if count},
        )

    def close(self) -> None:
        self._closing = True
        for task in self._reconnects:
            task.cancel()
        for connection in list(self._connections):
            connection.close()


async def _main(spec: LoadSpec) -> None:
    run = Run(spec)
    await run.connect()
    await run.warm_up()
    print("ready", flush=True)
    if spec.mode == "held":
        asked = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
        await run.hold(asked, _tell)
        run.close()
        return
    if not await asyncio.to_thread(sys.stdin.readline):
        return  # the bench has gone
    _tell(await run.measure())
    run.close()


def _tell(result: LoadResult) -> None:
    print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(_main(msgspec.json.decode(sys.argv[1], type=LoadSpec)))
