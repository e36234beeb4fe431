"""A plane and its control plane on two hosts, and the link between them goes down and comes up again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.faults.load import Load
from tests.faults.namespaces import CanNotIsolate, Host, connect, two_hosts
from tests.integration.commands import routerctl
from tests.integration.remote_planes import PlaneHost, new_keys, plane_host, seen, state, status
from tests.integration.routers import Router, eventually, simulated_fleet

CONTROL = "10.77.0"
DATA = "10.78.0"


class TwoHosts:
    """The control plane on `near`, planes and workers on `far`; one link for the table, another one for requests."""

    def __init__(self, folder: Path, near: Host, far: Host, stack: ExitStack) -> None:
        self.near, self.far = near, far
        connect(near, far, "control", CONTROL)
        connect(near, far, "data", DATA)
        keys = new_keys(folder / "keys", "server", "far")
        with far.inside():
            self.workers = stack.enter_context(
                simulated_fleet(folder, 2, f"--host={DATA}.2", "--time-scale=0", "--record=0")
            )
        self.router = Router(
            folder,
            "--data-planes=1",
            f"--control-bind=tcp://{CONTROL}.1:30100",
            f"--control-keys={keys}",
            "--worker-urls",
            *self.workers,
        )
        stack.callback(self.router.close)
        with near.inside():
            self.router.start().ready()
        with far.inside():
            self.planes: PlaneHost = stack.enter_context(
                plane_host(
                    folder / "f",
                    f"tcp://{CONTROL}.1:30100",
                    keys / "far.key_secret",
                    keys / "server.key",
                )
            )
            self.planes.ready()

    def link(self, turn: str) -> None:
        # At the near end: the far host sees a cable that was pulled, and keeps its addresses.
        self.near.run("link", "set", "control", turn)

    def state(self) -> str | None:
        with self.near.inside():
            return state(self.router)

    def is_current(self) -> bool:
        """Whether the far plane serves from the newest table."""
        with self.near.inside():
            plane, newest = seen(self.router), status(self.router)["control_plane"]["table"]
        return plane is not None and plane["state"] == "serving" and plane["table"] == newest

    def change(self, *arguments: str) -> None:
        with self.near.inside():
            done = routerctl("workers", *arguments, f"--runtime-dir={self.router.runtime.path}")
        assert done.returncode == 0, done.stderr


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[TwoHosts]:
    with ExitStack() as stack:
        try:
            near, far = stack.enter_context(two_hosts())
        except CanNotIsolate as error:
            pytest.skip(f"two network namespaces can not be made here: {error}")
        yield TwoHosts(tmp_path, near, far, stack)


def test_the_link_to_the_control_plane_goes_down_and_up_under_load(hosts: TwoHosts) -> None:
    eventually(hosts.is_current, "the far plane to serve")
    with ExitStack() as stack:
        with hosts.far.inside():
            # Threads belong to the host on which they are started.
            load = stack.enter_context(Load(hosts.planes.url, 4))
        hosts.link("down")
        eventually(lambda: "serving from the last known table" in hosts.planes.errors, "the plane to be stale")
        eventually(lambda: hosts.state() == "silent", "the control plane to miss it")
        hosts.change("drain", hosts.workers[0])
        answered = load.total
        eventually(lambda: load.total > answered + 100, "it to go on")
        hosts.link("up")
        eventually(hosts.is_current, "it to have the newest table")
        # What was on its way to it may still come to it.
        eventually(lambda: hundred_pass_by(hosts, load, hosts.workers[0]), "a hundred to go elsewhere")
    assert load.failed == []


def hundred_pass_by(hosts: TwoHosts, load: Load, worker: str) -> bool:
    """Whether no more requests come to a worker while others answer a hundred."""
    before, goal = asked(hosts, worker), load.total + 100
    eventually(lambda: load.total >= goal, "it to go on")
    return asked(hosts, worker) == before


def asked(hosts: TwoHosts, worker: str) -> int:
    """Prompt tokens that a simulated worker has read: it grows with each request, and with nothing else."""
    with hosts.far.inside():
        tokens: int = httpx.get(f"{worker}/sim/state", timeout=30).json()["engine"]["prompt_tokens"]
    return tokens
