"""Clients in a process of their own: `python -m benchlib.admission_clients SPEC`.

Connects, prints `ready`, asks from the first line on stdin to the second, and prints what it was told. Bytes are
prepared and read with as little work as can be: what the clients use of the machine is not the router's.
"""

import asyncio
import gc
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import cast

import msgspec
import uvloop

from benchlib.admission_wire import Answer, ClientsSpec, Told
from benchlib.pacer import Pacer

_BODY = b'{"model":"m","messages":[{"role":"user","content":"%b"}],"stream":true}' % (b"word " * 200)
_LENGTH = b"content-length: "
_RETRY = b"\r\nretry-after: "
_RETRY_MS = b"\r\nretry-after-ms: "
_OK = 200
_AGAIN = 0.02
"""Seconds until a connection that broke is made anew."""

_clock = time.monotonic


def request(key: str) -> bytes:
    """Return a request's bytes."""
    authorization = f"authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{authorization}"
        f"content-type: application/json\r\ncontent-length: {len(_BODY)}\r\n\r\n"
    )
    return head.encode() + _BODY


def _number(head: bytes, name: bytes) -> int:
    start = head.find(name)
    if start < 0:
        return 0
    start += len(name)
    return int(head[start : head.index(b"\r\n", start)])


class Connection(asyncio.Protocol):
    """One client; it has one request open at most."""

    def __init__(self, clients: "Clients") -> None:
        self._clients = clients
        self._transport: asyncio.Transport | None = None
        self._due = self._sent = 0.0
        self._first = 0.0
        self._got = b""
        self.tries = 0

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is not a subclass

    def send(self, due: float) -> None:
        """Ask; the answer's times count from `due`."""
        if self._transport is not None:
            self._due, self._sent = due, _clock()
            self._transport.write(self._clients.request)

    def data_received(self, data: bytes) -> None:
        got = self._got = self._got + data if self._got else data
        head = got.find(b"\r\n\r\n") + 4
        if head < 4:
            return
        status = int(got[9:12])
        if status == _OK:
            if not self._first and len(got) > head:
                self._first = _clock()
            if got.endswith(b"0\r\n\r\n"):
                self._answered(status, b"")
        elif len(got) >= head + _number(got, _LENGTH):
            self._answered(status, got[:head])

    def _answered(self, status: int, head: bytes) -> None:
        now, due = _clock(), self._due
        wait = _number(head, _RETRY_MS) / 1e3 or _number(head, _RETRY)
        answer = Answer(now, status, (self._first or now) - due, now - due, wait, self._sent - due, self.tries)
        self._got, self._first = b"", 0.0
        self.tries = 0 if status == _OK else self.tries + 1
        self._clients.answers.append(answer)
        self._clients.on_answer(self, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._clients.broke(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Clients:
    """All clients of the process."""

    def __init__(self, spec: ClientsSpec) -> None:
        self._spec = spec
        self._loop = asyncio.get_running_loop()
        self.request = request(spec.key)
        self.answers: list[Answer] = []
        self.lost = 0
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_answer: Callable[[Connection, Answer], None] = self._rest
        self.on_connected: Callable[[Connection], None] = lambda _connection: None
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()

    async def connect(self) -> None:
        """Make all connections."""
        for _ in range(self._spec.connections):
            await self._connect_one()

    async def _connect_one(self) -> None:
        while True:
            try:
                _, one = await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self._spec.port)
            except OSError:
                await asyncio.sleep(_AGAIN)
                continue
            self._connections.add(one)
            self.on_connected(one)
            return

    def broke(self, connection: Connection) -> None:
        """Make a connection that the router has closed anew."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self.lost += 1
        task = self._loop.create_task(self._connect_one())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _rest(self, connection: Connection, answer: Answer) -> None:
        """Ask no more."""

    # --- each asks again once it is answered -----------------------------------------------------------

    def ask_in_turn(self) -> None:
        """Let each client ask, again and again."""
        self.on_answer = self._ask_again
        self.on_connected = self._ask
        for connection in self._connections:
            self._ask(connection)

    def _ask_again(self, connection: Connection, answer: Answer) -> None:
        if answer.status == _OK:
            self._ask(connection)
        else:
            self._loop.call_later(self._spec.pause, self._ask, connection)

    def _ask(self, connection: Connection) -> None:
        connection.send(_clock())

    # --- each asks until it has an answer --------------------------------------------------------------

    def ask_once(self) -> None:
        """Let each client ask for one answer, and do as it is told until it has it."""
        self.on_answer = self._obey
        self.on_connected = self._ask
        step = self._spec.once_within / len(self._connections)
        for number, connection in enumerate(self._connections):
            self._loop.call_later(number * step, self._ask, connection)

    def _obey(self, connection: Connection, answer: Answer) -> None:
        if answer.status != _OK:
            self._loop.call_later(answer.retry_after or self._spec.pause, self._ask, connection)

    # --- requests come at a rate -----------------------------------------------------------------------

    def ask_at_rate(self) -> Pacer:
        """Let requests come; those that find no free connection wait for one."""
        self.on_answer = lambda connection, _answer: self._is_free(connection)
        self.on_connected = self._is_free
        self._idle.extend(self._connections)
        return Pacer(self._spec.rate, self._comes)

    def _comes(self, due: float) -> None:
        self._waiting.append(due)
        self._send_waiting()

    def _is_free(self, connection: Connection) -> None:
        self._idle.append(connection)
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._idle:
            connection = self._idle.popleft()
            if connection.is_open:
                connection.send(self._waiting.popleft())

    def close(self) -> None:
        """End all connections."""
        connections, self._connections = self._connections, set()
        for task in self._tasks:
            task.cancel()
        for connection in connections:
            connection.close()


async def _main(spec: ClientsSpec) -> None:
    loop = asyncio.get_running_loop()
    clients = Clients(spec)
    await clients.connect()
    print("ready", flush=True)
    if not await loop.run_in_executor(None, sys.stdin.readline):
        return  # the bench has gone
    pacer: Pacer | None = None
    if spec.rate:
        pacer = clients.ask_at_rate()
    elif spec.once_within:
        clients.ask_once()
    else:
        clients.ask_in_turn()
    await loop.run_in_executor(None, sys.stdin.readline)
    if pacer is not None:
        pacer.close()
    clients.close()
    print(msgspec.json.encode(Told(clients.answers, clients.lost)).decode(), flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()  # Answers are kept until the end: looking through them would be a pause that nobody measures.
    uvloop.run(_main(msgspec.json.decode(sys.argv[1], type=ClientsSpec)))
