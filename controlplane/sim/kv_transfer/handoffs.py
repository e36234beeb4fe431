"""What a worker keeps for others, and how they get it: by `POST /sim/handoffs`, also between processes."""

from __future__ import annotations

import asyncio
import json
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

from controlplane.sim import wire
from controlplane.sim.exchange import Exchange, Pull

if TYPE_CHECKING:
    from controlplane.sim.worker import Worker

CONNECT_TIMEOUT = 5.0


class UnreachableError(Exception):
    """The other worker is not there, is not the one that is meant, or does not go with this one."""


class Handoffs:
    """The kept ones by name. Each is given once, and no longer than for its lease."""

    def __init__(self, lease: float) -> None:
        """`lease` is in seconds."""
        self._lease = lease
        self._kept: dict[str, tuple[int, float]] = {}
        self._waiting: dict[str, _Waiter] = {}
        self.taken = 0
        self.expired = 0

    def keep(self, name: str, seed: int, now: float) -> None:
        """Keep until it is taken, or give it to whom waits for it; `now` is monotonic, in seconds."""
        self._expire(now)
        waiter = self._waiting.pop(name, None)
        if waiter is None:
            self._kept[name] = (seed, now + self._lease)
        else:
            self.taken += 1
            waiter.got(seed)

    def take(self, name: str, now: float) -> int | None:
        """Give it away; None when it is not there."""
        self._expire(now)
        kept = self._kept.pop(name, None)
        self.taken += kept is not None
        return None if kept is None else kept[0]

    def wait(self, name: str, waiter: _Waiter) -> None:
        """Have a waiter told of what comes; the last one waits."""
        self._waiting[name] = waiter

    def leave(self, name: str, waiter: _Waiter) -> None:
        """Wait no more."""
        if self._waiting.get(name) is waiter:
            del self._waiting[name]

    def clear(self) -> None:
        """Keep nothing: the engine has died."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _expire(self, now: float) -> None:
        for name in [name for name, (_, until) in self._kept.items() if until <= now]:
            del self._kept[name]
            self.expired += 1


class _Waiter:
    """A `Source` that is answered when what it waits for has come, or its time is up."""

    def __init__(self, worker: Worker, exchange: Exchange, name: str, seconds: float) -> None:
        self._exchange = exchange
        self._handoffs = worker.handoffs
        self._name = name
        self._timer = worker.loop.call_later(seconds, self._give_up) if seconds < inf else None

    def got(self, seed: int | None) -> None:
        """Answer."""
        if self._timer is not None:
            self._timer.cancel()
        _answer(self._exchange, seed)

    def _give_up(self) -> None:
        self._handoffs.leave(self._name, self)
        _answer(self._exchange, None)

    def pull(self) -> bytes | Pull:
        """Return nothing: the answer is sent at once."""
        return Pull.WAIT

    def cancel(self) -> None:
        """Know that the other worker is gone."""
        self._handoffs.leave(self._name, self)
        if self._timer is not None:
            self._timer.cancel()


def give(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /sim/handoffs?request=NAME[&engine=ID][&fits=TEXT][&wait=SECONDS]`.

    409 when the engine has another id, or the two do not go together.
    """
    query = parse_qs(exchange.request.query.decode("latin-1"))
    name, wait = query.get("request", [""])[0], float(query.get("wait", ["0"])[0])
    is_meant = all(engine in worker.engine_ids for engine in query.get("engine", ()))
    if not is_meant or query.get("fits", [fits(worker)]) != [fits(worker)]:
        exchange.send(409, b"", b"")
        return
    seed = worker.handoffs.take(name, worker.loop.time())
    if seed is not None or not wait:
        _answer(exchange, seed)
        return
    waiter = _Waiter(worker, exchange, name, wait)
    exchange.watch(waiter)
    worker.handoffs.wait(name, waiter)


def fits(worker: Worker) -> str:
    """Return what two workers must have in common for NIXL's handshake."""
    return f"{worker.config.kv_connector} {worker.config.version} {worker.config.models[0]}"


def _answer(exchange: Exchange, seed: int | None) -> None:
    exchange.send(200, wire.JSON, json.dumps({"seed": seed}).encode())


async def taken(worker: Worker, host: str, port: int, name: str, **query: object) -> int | None:
    """Return what another worker keeps under a name for `worker`; None when it has nothing. Raises UnreachableError.

    `query` is as in `give`.
    """
    target = "/sim/handoffs?" + urlencode({"request": name, **query})
    answer = await ask(worker, host, port, "POST", target)
    try:
        seed: int | None = json.loads(answer)["seed"]
    except (ValueError, KeyError) as error:
        raise UnreachableError from error
    return seed


async def ask(worker: Worker, host: str, port: int, method: str, target: str) -> bytes:
    """Return the body of an answer to `worker`. Raises UnreachableError."""
    if worker.faults.cuts(f"{host}:{port}"):
        raise UnreachableError
    head = f"{method} {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(head.encode("latin-1"))
            answer = await reader.read()
        finally:
            writer.close()
    except (OSError, TimeoutError, OverflowError) as error:
        raise UnreachableError from error
    return answer.partition(b"\r\n\r\n")[2]
