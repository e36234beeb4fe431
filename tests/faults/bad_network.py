"""What lies between the control plane's publisher and one plane, and loses, doubles, delays and reorders frames."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from shared.runtime_dir import RuntimeDir
from shared.sockets import WELCOME

Fate = Callable[[random.Random], list[float]]
"""Draws what becomes of a frame: it arrives once for each entry, after so many seconds."""

_POLL_MS = 5


def losing(share: float) -> Fate:
    """Lose this share of the frames."""
    return lambda rng: [] if rng.random() < share else [0.0]


def doubling(rng: random.Random) -> list[float]:
    """Send most frames twice, the second time a little later."""
    return [0.0, rng.uniform(0.0, 0.1)] if rng.random() < 0.7 else [0.0]


def delaying(rng: random.Random) -> list[float]:
    """Hold each frame back for a time of its own, so that they also change their order."""
    return [rng.uniform(0.0, 0.3)]


def everything(rng: random.Random) -> list[float]:
    """Lose, double, delay and reorder."""
    return [] if rng.random() < 0.3 else [rng.uniform(0.0, 0.3) for _ in range(rng.choice((1, 1, 2, 3)))]


class BadNetwork:
    """A runtime folder in which only the publisher's socket is not the control plane's own, while the block runs."""

    def __init__(self, folder: Path, common: RuntimeDir, fate: Fate, seed: int) -> None:
        folder.mkdir(mode=0o700)
        self.runtime = RuntimeDir(folder)
        for path in (common.config, common.table, common.planes, common.path / "control.ipc"):
            (folder / path.name).symlink_to(path)
        self.fate = fate
        self.frames = 0
        self.passed = 0
        self._source = common.publish_endpoint
        self._rng = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        under_way: list[tuple[float, int, list[bytes]]] = []
        with zmq.Context() as context, context.socket(zmq.SUB) as source, context.socket(zmq.XPUB) as plane:
            source.subscribe(b"")
            source.connect(self._source)
            plane.setsockopt(zmq.XPUB_WELCOME_MSG, WELCOME)
            plane.bind(self.runtime.publish_endpoint)
            poller = zmq.Poller()
            poller.register(source, zmq.POLLIN)
            poller.register(plane, zmq.POLLIN)
            while not self._ended.is_set():
                ready = dict(poller.poll(_POLL_MS))
                if plane in ready:
                    plane.recv()
                if source in ready:
                    frames = source.recv_multipart()
                    if frames != [WELCOME]:
                        self.frames += 1
                        for delay in self.fate(self._rng):
                            self.passed += 1
                            heapq.heappush(under_way, (time.monotonic() + delay, self.passed, frames))
                while under_way and under_way[0][0] <= time.monotonic():
                    plane.send_multipart(heapq.heappop(under_way)[2])
            for socket in (source, plane):
                socket.linger = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
