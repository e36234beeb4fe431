"""`routerctl register` beside a simulated engine: what routers hear of its life."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.plane_keys import secret_file, write_new_pair
from shared.registration import Goodbye, Hello, Ping
from tests.integration.registrars import Registrar, RouterSocket, engine, registrar
from tests.integration.routers import free_ports


class Place:
    """Ports for an engine and a router, and the registrar's flags for them."""

    def __init__(self, folder: Path, routers: int = 1) -> None:
        self.folder = folder
        self.port, *ports = free_ports(1 + routers)
        self.url = f"http://127.0.0.1:{self.port}"
        self.routers = [f"tcp://127.0.0.1:{port}" for port in ports]

    def registrar(self, *arguments: str) -> Registrar:
        flags = [f"--router={router}" for router in self.routers]
        return Registrar(self.folder / "registrar", f"--url={self.url}", *flags, "--interval=0.3", *arguments)


def test_an_engine_is_announced_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """The registrar is there first, the engine dies by kill -9 and comes back, and then the registrar ends."""
    place = Place(tmp_path, routers=2)
    one = place.registrar("--role=prefill", "--connector=nixl", "--label=zone=a", "--capacity=64")
    try:
        one.says("waiting for the engine (connection refused)")
        with RouterSocket(place.routers[0]) as near, RouterSocket(place.routers[1]) as other:
            with engine(tmp_path, place.port, "--data-parallel-size=2", "--kv-events") as process:
                hello = near.hears(Hello)
                assert (hello.url, hello.role, hello.models) == (place.url, "prefill", ("sim-model",))
                assert (hello.ranks, hello.labels, hello.capacity) == (2, {"zone": "a"}, 64.0)
                assert hello.transfer is not None
                assert hello.transfer.connector == "nixl"
                assert [source.rank for source in hello.kv_events or ()] == [0, 1]
                assert hello.version == "0.32.0"
                assert hello.process_start is not None
                ping = near.hears(Ping, 2)
                assert (ping.epoch, ping.models, ping.transfer) == (hello.epoch, hello.models, hello.transfer)
                assert other.hears(Hello).registrar == hello.registrar
                other.hears(Ping)
                process.kill()
                goodbye = near.hears(Goodbye)
                assert (goodbye.registrar, goodbye.url) == (hello.registrar, place.url)
                assert "connection refused" in goodbye.reason
                other.hears(Goodbye)
            with engine(tmp_path, place.port):
                again = near.hears(Hello, 1 + sum(isinstance(message, Hello) for message in near.heard))
                assert (again.registrar, again.url, again.ranks) == (hello.registrar, place.url, 1)
                assert again.epoch != hello.epoch
                other.hears(Hello, 2)
                one.process.terminate()
                assert near.hears(Goodbye, 2).reason == "SIGTERM"
                other.hears(Goodbye, 2)
                assert one.ended() == 0
            assert [message.seq for message in near.heard] == sorted({message.seq for message in near.heard})
        assert one.output == f"ready: {place.url} is registered at {place.routers[0]}\n" or one.output == (
            f"ready: {place.url} is registered at {place.routers[1]}\n"
        )
        assert "said goodbye; 2 of 2 routers have answered" in one.errors
    finally:
        one.close()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an engine that is there all the time."""
    (port,) = free_ports(1)
    with engine(tmp_path_factory.mktemp("standing"), port):
        yield f"http://127.0.0.1:{port}"


def test_a_refusal_is_told_with_its_reason_and_can_end(tmp_path: Path, standing: str) -> None:
    (port,) = free_ports(1)
    endpoint = f"tcp://127.0.0.1:{port}"
    with (
        RouterSocket(endpoint, refusal="not from that network") as router,
        registrar(tmp_path / "registrar", f"--url={standing}", f"--router={endpoint}", "--interval=0.3") as one,
    ):
        router.hears(Hello)
        one.says(f"router {endpoint}: it refuses the worker: not from that network")
        router.refusal = ""
        router.hears(Ping, 1 + sum(isinstance(message, Ping) for message in router.heard))
        one.ready()


def test_a_refused_worker_is_not_registered_by_its_goodbye(tmp_path: Path, standing: str) -> None:
    (port,) = free_ports(1)
    endpoint = f"tcp://127.0.0.1:{port}"
    with (
        RouterSocket(endpoint, refusal="not from that network") as router,
        registrar(tmp_path / "registrar", f"--url={standing}", f"--router={endpoint}", "--interval=0.3") as one,
    ):
        router.hears(Hello)
        one.says(f"router {endpoint}: it refuses the worker: not from that network")
        one.process.terminate()
        router.hears(Goodbye)
        assert one.ended() == 0
        assert "said goodbye; 1 of 1 routers have answered" in one.errors
        assert one.output == ""


def test_nobody_there_is_told_and_ends_it_in_time(tmp_path: Path, standing: str) -> None:
    nobody, router = (f"127.0.0.1:{port}" for port in free_ports(2))
    flags = (f"--router=tcp://{router}", f"--url=http://{nobody}")
    with (
        registrar(tmp_path / "a", *flags) as no_engine,
        registrar(tmp_path / "b", *flags, "--startup-timeout-secs=0.5") as in_vain,
        registrar(tmp_path / "c", flags[0], f"--url={standing}") as no_router,
    ):
        assert in_vain.ended() == 1
        assert "not registered after 0.5 s: the engine" in in_vain.errors
        no_engine.says("waiting for the engine (connection refused)")
        no_router.says(f"router tcp://{router}: not heard: no connection comes about")
        for one in (no_engine, no_router):
            one.process.terminate()
            assert one.ended() == 0
            assert one.output == ""


def test_with_keys_a_router_is_the_one_that_was_meant(tmp_path: Path, standing: str) -> None:
    (port,) = free_ports(1)
    server = write_new_pair(tmp_path / "right", "server")
    write_new_pair(tmp_path / "wrong", "server")
    write_new_pair(tmp_path, "engine")
    flags = (f"--url={standing}", f"--router=tcp://127.0.0.1:{port}")
    own = f"--keys={secret_file(tmp_path, 'engine')}"
    right, wrong = (f"--server-key={tmp_path / name / 'server.key'}" for name in ("right", "wrong"))
    with (
        RouterSocket(f"tcp://127.0.0.1:{port}", keys=server) as router,
        registrar(tmp_path / "a", *flags, own, right) as meant,
        registrar(tmp_path / "b", *flags, own, wrong) as other,
        registrar(tmp_path / "c", *flags) as keyless,
    ):
        hello = router.hears(Hello)
        meant.ready()
        other.says("who answers there has not the key of --server-key")
        keyless.says("does it ask for keys?")
        router.take()
        assert {message.registrar for message in router.heard} == {hello.registrar}
        assert other.output == keyless.output == ""
