"""Which keys a plane on another host connects with, and when it connects anew."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

import dataplane.subscriber.remote_link
from dataplane.subscriber.remote_link import RemoteLink
from shared.clock import SystemClock
from shared.plane_keys import KeyPair, secret_file, write_new_pair
from shared.remote_address import RemoteAddress
from shared.sockets import Context
from shared.uplink import Uplink


class Place:
    """Key files, and a link to where nobody listens."""

    def __init__(self, folder: Path, servers: int = 1) -> None:
        self.folder = folder
        self.own = write_new_pair(folder, "own")
        self.servers = [write_new_pair(folder / str(number), "server").public for number in range(servers)]
        self.known = folder / "known"
        self.known.mkdir()
        for number in range(servers):
            self.learn(number)
        self.keys = secret_file(folder, "own")
        address = RemoteAddress("127.0.0.1", 1)
        uplink = Uplink(address=address, name="far", keys=str(self.keys), server_keys=str(self.known))
        self.link = RemoteLink(uplink, SystemClock(), Random(1))
        self.context = Context()

    def learn(self, number: int) -> None:
        content = (self.folder / str(number) / "server.key").read_bytes()
        (self.known / f"{number}.key").write_bytes(content)

    async def connected_with(self) -> tuple[bytes, bytes]:
        """Open the link; return the own and the other's public key that it goes by."""
        sockets = await self.link.open(self.context, b"p")
        for socket in sockets:
            socket.close()
        assert self.link.keys is not None
        return self.link.keys.pair.public, self.link.keys.server


def run(story: Callable[[], Awaitable[None]], place: Place) -> None:
    async def main() -> None:
        try:
            async with asyncio.timeout(30):
                await story()
        finally:
            place.context.destroy(linger=0)

    asyncio.run(main())


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_LOOK", 0.005), ("PATIENCE", 0.05), ("_SHORTEST_PAUSE", 0.001)):
        monkeypatch.setattr(dataplane.subscriber.remote_link, name, seconds)


def silence() -> float | None:
    return None


def talk() -> float:
    return SystemClock().monotonic()


def test_each_silence_turns_to_the_next_key(tmp_path: Path) -> None:
    place = Place(tmp_path, servers=2)

    async def story() -> None:
        for server in (*place.servers, *place.servers):
            assert await place.connected_with() == (place.own.public, server)
            await place.link.over(silence)

    run(story, place)


def test_nothing_is_made_anew_while_the_control_plane_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataplane.subscriber.remote_link, "PATIENCE", 0.2)
    place = Place(tmp_path, servers=2)

    async def story() -> None:
        await place.connected_with()
        waiting = asyncio.create_task(place.link.over(talk))
        place.learn(1)
        await asyncio.wait((waiting,), timeout=0.3)
        assert not waiting.done()
        # The key in use goes.
        (place.known / "0.key").unlink()
        await waiting
        assert await place.connected_with() == (place.own.public, place.servers[1])

    run(story, place)


def test_a_key_that_comes_before_the_one_in_use_does_not_take_its_turn(tmp_path: Path) -> None:
    place = Place(tmp_path, servers=2)
    (place.known / "0.key").unlink()

    async def story() -> None:
        assert (await place.connected_with())[1] == place.servers[1]
        place.learn(0)
        assert (await place.connected_with())[1] == place.servers[1]

    run(story, place)


def test_the_own_key_is_taken_up(tmp_path: Path) -> None:
    place = Place(tmp_path)
    coming = write_new_pair(tmp_path / "coming", "own")

    async def story() -> None:
        await place.connected_with()
        waiting = asyncio.create_task(place.link.over(talk))
        secret_file(tmp_path / "coming", "own").replace(place.keys)
        await waiting
        assert await place.connected_with() == (coming.public, place.servers[0])

    run(story, place)


def test_a_file_that_can_not_be_read_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = Place(tmp_path)

    async def story() -> None:
        before = await place.connected_with()
        place.keys.chmod(0o644)
        for _ in range(3):
            assert await place.connected_with() == before

    run(story, place)
    assert caplog.text.count("chmod 600") == 1
    assert "the keys before are used on" in caplog.text


def test_it_waits_until_there_are_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = Place(tmp_path)
    place.keys.chmod(0o644)

    async def story() -> None:
        waiting = asyncio.create_task(place.connected_with())
        await asyncio.wait((waiting,), timeout=0.1)
        assert not waiting.done()
        place.keys.chmod(0o600)
        assert await waiting == (place.own.public, place.servers[0])

    run(story, place)
    assert isinstance(place.own, KeyPair)
    assert place.own.secret.decode() not in caplog.text
