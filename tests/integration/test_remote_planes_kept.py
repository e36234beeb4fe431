"""Planes that follow a control plane over TCP: what leaves them as they were, so that all here share one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from shared.plane_keys import read_pair, read_public
from shared.sockets import ClientKeys, Context, control_client, subscriber
from tests.integration.commands import routerctl
from tests.integration.remote_planes import PlaneHost, Site, connections, models, plane_host, seen, state, status
from tests.integration.routers import eventually, simulated_fleet


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 2, "--time-scale=0", "--record=0") as workers:
        one = Site(tmp_path_factory.mktemp("site"), workers)
        try:
            one.router.start().ready()
            yield one
        finally:
            one.router.close()


@pytest.fixture(scope="module")
def far(site: Site) -> Iterator[PlaneHost]:
    with plane_host(site.folder / "f", site.control, site.own_key, site.server_key) as host:
        yield host.ready()


def test_its_own_host_shows_it_and_starts_it_again_when_it_dies(site: Site, far: PlaneHost) -> None:
    before = far.planes()[0].process
    told = routerctl("status", f"--runtime-dir={far.runtime.path}").stdout
    assert "on another host" in told
    assert f"control plane at {site.control}: reached" in told
    assert "plane 0 serving" in " ".join(told.split())
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: (plane := seen(site.router)) is not None and plane["pid"] != before.pid, "the next plane")
    eventually(lambda: state(site.router) == "serving", "it to serve")
    # The dead one was never heard to say goodbye, and is not on this host to be looked for.
    eventually(lambda: len([p for p in status(site.router)["planes"] if p["host"] == "far"]) == 1, "one plane there")
    assert models(far) == 200


def test_plain_connections_and_garbage_are_refused_and_counted(site: Site, far: PlaneHost) -> None:
    context = zmq.Context()
    plain = [context.socket(zmq.SUB), context.socket(zmq.DEALER)]
    plain[0].setsockopt(zmq.SUBSCRIBE, b"")
    for sock, port in zip(plain, (site.port + 1, site.port), strict=True):
        sock.linger = 0
        sock.connect(f"tcp://127.0.0.1:{port}")
    plain[1].send(b"\x81\xa4type")
    refused, malformed = connections(site.router, "no_key"), status(site.router)["control_plane"]["malformed"]
    for port in (site.port, site.port + 1):
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 5000, b"\xff" * 5000, os.urandom(5000), b""):
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.sendall(garbage)
    eventually(lambda: connections(site.router, "no_key") >= refused + 10, "them to be counted")
    eventually(lambda: "proved no key" in site.router.errors, "a line in the log")
    assert plain[0].poll(0) == 0
    for sock in plain:
        sock.close()
    context.term()
    assert state(site.router) == "serving"
    assert status(site.router)["control_plane"]["malformed"] == malformed


def test_silent_connections_do_not_stay(site: Site, far: PlaneHost) -> None:
    pid = site.router.control_plane_pid()

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{pid}/fd"))

    eventually(lambda: state(site.router) == "serving", "the plane to be shown")
    before = descriptors()
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", site.port)))
        eventually(lambda: descriptors() > before + 200, "them to be taken")
        eventually(lambda: descriptors() <= before + 20, "them to be closed")
    assert state(site.router) == "serving"


def test_no_secret_is_anywhere_to_be_seen(site: Site, far: PlaneHost) -> None:
    secrets = [read_pair(site.keys / f"{name}.key_secret").secret.decode() for name in ("server", "far")]
    shown = [
        routerctl("keys", "show", f"--dir={site.keys}").stdout,
        routerctl("keys", "show", f"--dir={site.keys}", "--json").stdout,
        routerctl("status", f"--runtime-dir={site.router.runtime.path}", "--json").stdout,
        routerctl("config", "show", f"--control-bind={site.control}", f"--control-keys={site.keys}").stdout,
        site.router.errors,
        far.errors,
        *(path.read_text() for path in site.router.runtime.path.glob("*.json")),
        *(path.read_text() for path in far.runtime.path.glob("*.json")),
    ]
    pids = [site.router.process.pid, site.router.control_plane_pid(), far.process.pid, far.planes()[0].process.pid]
    shown += [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
    assert all(shown)
    assert not [text for text in shown for secret in secrets if secret in text]


def test_a_connection_that_is_let_in_and_sends_nonsense_harms_nobody(site: Site, far: PlaneHost) -> None:
    malformed = status(site.router)["control_plane"]["malformed"]

    async def talk() -> None:
        context = Context()
        keys = ClientKeys(read_pair(site.own_key), read_public(site.server_key))
        with (
            control_client(context, site.control, b"x", keys) as control,
            subscriber(context, f"tcp://127.0.0.1:{site.port + 1}", keys) as updates,
        ):
            # The welcome proves that the key is good, so that what follows does arrive.
            assert await updates.recv_multipart()
            await control.send(b"\xc1 nonsense")
            await asyncio.to_thread(
                eventually, lambda: status(site.router)["control_plane"]["malformed"] == malformed + 1, "it"
            )
        context.destroy(linger=0)

    asyncio.run(talk())
    assert state(site.router) == "serving"
