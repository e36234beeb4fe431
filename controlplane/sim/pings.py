"""Pings: how a worker with P2pNcclConnector or MoRIIOConnector registers with a router, as vLLM does it.

A DEALER whose identity is the worker's ZeroMQ address sends one msgpack map, again and again, and reads nothing. It
pings for as long as its process lives, whether or not the worker serves. While nobody listens libzmq keeps the pings.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import zmq
import zmq.asyncio

from .faults import LatePings, LostPings

if TYPE_CHECKING:
    from .worker import Worker

_MAX_SOCKETS = 2048


class Pings:
    """The pings of all workers of a process."""

    def __init__(self, endpoint: str, interval: float) -> None:
        """`endpoint` is the router's; `interval` is in seconds."""
        self._endpoint = endpoint
        self._interval = interval
        self._random = random.Random(0)
        self._context = zmq.asyncio.Context()
        self._context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)

    async def run(self, worker: Worker, address: str) -> None:
        """Ping for one worker until cancelled."""
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt_string(zmq.IDENTITY, address)
        socket.setsockopt(zmq.IPV6, "[" in self._endpoint)
        try:
            socket.connect(self._endpoint)
            if worker.config.kv_connector == "moriio":
                await socket.send(msgspec.msgpack.encode({"type": "HELLO"}))
            while True:
                await self._ping(worker, address, socket)
                await asyncio.sleep(self._interval)
        finally:
            socket.close()

    def close(self) -> None:
        """Give everything back."""
        self._context.destroy(linger=0)

    async def _ping(self, worker: Worker, address: str, socket: zmq.asyncio.Socket) -> None:
        met = worker.faults.meet(LostPings.target)
        if worker.faults.dead or (met is not None and met.get(LostPings) is not None):
            return
        if met is not None and (late := met.get(LatePings)) is not None:
            await asyncio.sleep(self._random.uniform(0, late.seconds))
        await socket.send(msgspec.msgpack.encode(message(worker, address)))


def message(worker: Worker, address: str) -> dict[str, Any]:
    """Return what a ping says."""
    config = worker.config
    said: dict[str, Any] = {
        "type": "D" if config.kv_role == "kv_consumer" else "P",
        "http_address": urlsplit(worker.url).netloc,
        "zmq_address": address,
    }
    if config.kv_connector == "moriio":
        said |= {"dp_size": config.data_parallel_size, "tp_size": 1, "transfer_mode": config.kv_mode.upper()}
    return said
