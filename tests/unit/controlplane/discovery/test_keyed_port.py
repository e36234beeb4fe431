"""The socket where workers register with keys, and clients in the same process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zmq

import controlplane.doorkeeper
from controlplane.discovery.keyed_port import KeyedRegistrationPort
from shared.clock import SystemClock
from shared.plane_keys import WORKERS, KeyPair, write_new_pair
from shared.registration import MAX_FRAME
from shared.remote_address import TcpAddress
from shared.sockets import ClientKeys, Context, Socket, registrar
from tests.integration.routers import free_ports
from tests.unit.controlplane.keyed_play import play
from tests.unit.controlplane.waiting import until


class Scene:
    def __init__(self, folder: Path) -> None:
        self.server = write_new_pair(folder, "server")
        self.worker = write_new_pair(folder, "worker", WORKERS)
        self.plane = write_new_pair(folder, "plane")
        self.context = Context()
        self.address = TcpAddress("127.0.0.1", free_ports(1)[0])
        self.port = KeyedRegistrationPort(self.address, folder, SystemClock(), 1000)
        self.taken: list[tuple[bytes, str]] = []
        self.sockets: list[Socket] = []

    def serve(self) -> Coroutine[Any, Any, None]:
        return self.port.run(self.take)

    def take(self, message: bytes, peer: str) -> bytes | None:
        self.taken.append((message, peer))
        return b"answer to " + message if message != b"silence" else None

    def worker_with(self, pair: KeyPair) -> Socket:
        keys = ClientKeys(pair, self.server.public)
        self.sockets.append(registrar(self.context, str(self.address), keys, Random(1), largest=MAX_FRAME))
        self.sockets[-1].connect(str(self.address))
        return self.sockets[-1]


def run(folder: Path, story: Callable[[Scene], Awaitable[None]]) -> None:
    play(lambda: Scene(folder), story)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlplane.doorkeeper, "KEYS_INTERVAL", 0.02)


def test_who_has_a_workers_key_is_heard_and_answered(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        worker = scene.worker_with(scene.worker)
        for message in (b"silence", b"ping"):
            await worker.send(message)
        assert await worker.recv() == b"answer to ping"
        assert scene.taken == [(b"silence", "127.0.0.1"), (b"ping", "127.0.0.1")]
        assert scene.port.tally.let_in == 1

    run(tmp_path, story)


def test_who_has_another_key_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A plane's key opens this port no more than a stranger's."""

    async def story(scene: Scene) -> None:
        others = [scene.worker_with(pair) for pair in (scene.plane, KeyPair(*zmq.curve_keypair()))]
        await until(lambda: scene.port.tally.unknown_key >= len(others))
        worker = scene.worker_with(scene.worker)
        await worker.send(b"ping")
        assert await worker.recv() == b"answer to ping"
        assert scene.port.tally.let_in == 1

    run(tmp_path, story)
    assert "refused a worker at 127.0.0.1" in caplog.text
    assert str(tmp_path / "workers") in caplog.text


def test_what_is_no_message_of_one_frame_is_left_alone(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        worker = scene.worker_with(scene.worker)
        await worker.send_multipart([b"a", b"b"])
        await worker.send(b"ping")
        assert await worker.recv() == b"answer to ping"
        assert scene.taken == [(b"ping", "127.0.0.1")]

    run(tmp_path, story)


def test_what_is_too_large_ends_its_connection_alone(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        large, right = scene.worker_with(scene.worker), scene.worker_with(scene.worker)
        await large.send(b"x" * (MAX_FRAME + 1))
        await right.send(b"ping")
        assert await right.recv() == b"answer to ping"
        await large.send(b"small")
        assert await large.recv() == b"answer to small"
        assert b"x" not in {message[:1] for message, _ in scene.taken}

    run(tmp_path, story)
