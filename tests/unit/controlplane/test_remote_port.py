"""The sockets for planes on other hosts, with keys from files, and clients in the same process."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

import controlplane.doorkeeper
import controlplane.keyed_ports
from controlplane.remote_port import RemotePort
from shared.clock import SystemClock
from shared.messages import TOPIC_HEARTBEAT
from shared.plane_keys import KeyPair, public_file, secret_file, write_new_pair
from shared.remote_address import RemoteAddress
from shared.sockets import ClientKeys, Context, Socket, control_client, subscriber
from tests.integration.routers import free_ports
from tests.unit.controlplane.keyed_play import play
from tests.unit.controlplane.waiting import until


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server, self.plane = write_new_pair(folder, "server"), write_new_pair(folder, "plane")
        self.context = Context()
        self.address = RemoteAddress("127.0.0.1", free_ports(1)[0])
        self.port = RemotePort(self.context, self.address, folder, SystemClock(), 1000)
        self.taken: list[list[bytes]] = []
        self.sockets: list[Socket] = []

    def serve(self) -> Coroutine[Any, Any, None]:
        return self.port.run(self.take)

    def take(self, frames: list[bytes], reply: Callable[[list[bytes]], None]) -> None:
        self.taken.append(frames)
        reply([frames[0], b"answer to " + frames[1]])

    def subscriber(self, pair: KeyPair, server: bytes) -> Socket:
        self.sockets.append(subscriber(self.context, self.address.publish_endpoint, ClientKeys(pair, server)))
        return self.sockets[-1]

    def dealer(self, pair: KeyPair, server: bytes) -> Socket:
        self.sockets.append(control_client(self.context, self.address.control_endpoint, b"p", ClientKeys(pair, server)))
        return self.sockets[-1]


def run(folder: Path, story: Callable[[Scene], Awaitable[None]]) -> None:
    play(lambda: Scene(folder), story)


async def hears(scene: Scene, updates: Socket) -> None:
    """Publish until it is heard: a frame that comes just with the subscription may miss it."""
    while True:
        scene.port.publish([TOPIC_HEARTBEAT, b"beat"])
        while await updates.poll(20):
            if await updates.recv_multipart() == [TOPIC_HEARTBEAT, b"beat"]:
                return


async def is_cut_off(updates: Socket) -> None:
    """Wait until what is published comes no more."""
    while await updates.poll(200):
        await updates.recv_multipart()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlplane.doorkeeper, "KEYS_INTERVAL", 0.02)


def test_who_has_a_key_is_heard_and_hears(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        updates = scene.subscriber(scene.plane, scene.server.public)
        await hears(scene, updates)
        dealer = scene.dealer(scene.plane, scene.server.public)
        await dealer.send(b"hello")
        assert await dealer.recv() == b"answer to hello"
        assert scene.taken == [[b"p", b"hello"]]
        await until(lambda: scene.port.tally.let_in == 2)

    run(tmp_path, story)


def test_who_has_none_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(scene: Scene) -> None:
        stranger = KeyPair(*zmq.curve_keypair())
        wrong = scene.subscriber(stranger, scene.server.public)
        misled = scene.subscriber(scene.plane, stranger.public)
        await until(lambda: scene.port.tally.unknown_key > 0)
        right = scene.subscriber(scene.plane, scene.server.public)
        await hears(scene, right)
        assert not await wrong.poll(0)
        assert not await misled.poll(0)

    run(tmp_path, story)
    assert "refused a plane at 127.0.0.1" in caplog.text
    assert "SHA256:" in caplog.text


def test_a_key_that_is_taken_out_is_cut_off_and_others_come_back(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        other = write_new_pair(tmp_path, "other")
        going, staying = (scene.subscriber(pair, scene.server.public) for pair in (scene.plane, other))
        await hears(scene, going)
        await hears(scene, staying)
        public_file(tmp_path, "plane").unlink()
        # Its next attempt to connect is refused.
        await until(lambda: scene.port.tally.unknown_key > 0)
        await is_cut_off(going)
        await hears(scene, staying)
        assert not await going.poll(0)

    run(tmp_path, story)


def test_a_key_more_disturbs_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(scene: Scene) -> None:
        first = scene.subscriber(scene.plane, scene.server.public)
        await hears(scene, first)
        other = write_new_pair(tmp_path, "other")
        await until(lambda: "other hosts: 2 may connect" in caplog.text)
        await hears(scene, scene.subscriber(other, scene.server.public))
        # Had it been cut off, it would have been let in twice.
        assert scene.port.tally.let_in == 2

    caplog.set_level("INFO")
    run(tmp_path, story)


def test_the_own_key_may_be_replaced(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        before = scene.subscriber(scene.plane, scene.server.public)
        await hears(scene, before)
        coming = write_new_pair(tmp_path / "coming", "server")
        secret_file(tmp_path / "coming", "server").replace(secret_file(tmp_path, "server"))
        after = scene.subscriber(scene.plane, coming.public)
        await is_cut_off(before)
        await hears(scene, after)
        assert not await before.poll(0)

    run(tmp_path, story)


def test_too_many_connections_close_the_ports_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(controlplane.keyed_ports, "_REST", 0.1)
    monkeypatch.setattr(controlplane.keyed_ports, "MAX_CONNECTIONS", 80)

    async def story(scene: Scene) -> None:
        right = scene.subscriber(scene.plane, scene.server.public)
        await hears(scene, right)
        with ExitStack() as stack:
            while "over 80 connections" not in caplog.text:
                # While they are closed nobody listens there.
                with suppress(ConnectionRefusedError):
                    stack.enter_context(socket.create_connection(("127.0.0.1", scene.address.port)))
                await asyncio.sleep(0)
        await hears(scene, right)

    run(tmp_path, story)
