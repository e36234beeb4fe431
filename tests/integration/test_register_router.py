"""`routerctl register` with a real router: workers that come and go with their engines, and by their keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.plane_keys import WORKERS, secret_file, write_new_pair
from tests.integration.registrars import Registrar, engine, registrar
from tests.integration.routers import Router, eventually, free_ports, samples


class Site:
    """A router of two planes that takes registrations with keys and without."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        write_new_pair(self.keys, "server")
        plain, keyed = free_ports(2)
        self.plain, self.keyed = f"tcp://127.0.0.1:{plain}", f"tcp://127.0.0.1:{keyed}"
        self.router = Router(
            folder,
            "--data-planes=2",
            f"--vllm-discovery-address=127.0.0.1:{plain}",
            f"--discovery-curve-address=127.0.0.1:{keyed}",
            f"--discovery-keys={self.keys}",
        )

    def worker(self, url: str) -> dict[str, Any]:
        """What the control plane says of it; nothing where it does not know it."""
        workers = httpx.get(f"http://127.0.0.1:{self.router.admin_port}/workers", trust_env=False).json()["workers"]
        return next((worker for worker in workers if worker["id"] == url), {})

    def is_ready(self, url: str) -> bool:
        try:
            return self.worker(url).get("state") == "ready"
        except httpx.TransportError:
            # It is being started.
            return False

    def ask(self) -> int:
        body = {"model": "sim-model", "prompt": "a", "max_tokens": 1}
        return httpx.post(f"{self.router.url}/v1/completions", json=body, timeout=30, trust_env=False).status_code

    def with_key(self, folder: Path, url: str, name: str) -> Registrar:
        keys = (f"--keys={secret_file(self.keys, name)}", f"--server-key={self.keys / 'server.key'}")
        return Registrar(folder, f"--url={url}", f"--router={self.keyed}", *keys)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("site"))
    try:
        found.router.start().ready()
        yield found
    finally:
        found.router.close()


def test_a_worker_comes_with_its_engine_and_goes_with_it(site: Site, tmp_path: Path) -> None:
    """G-CP-6, G-DISC-3: it is routable on its own, gone at the engine's death, another life when it is back."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    flags = (f"--url={url}", f"--router={site.plain}", "--label=zone=a", "--capacity=64", "--priority=60")
    with registrar(tmp_path / "registrar", *flags) as one:
        with engine(tmp_path, port) as process:
            eventually(lambda: site.is_ready(url), "the worker")
            worker = site.worker(url)
            assert (worker["source"], worker["role"], worker["models"]) == ("zmq", "regular", ["sim-model"])
            assert (worker["labels"], worker["capacity"], worker["priority"]) == ({"zone": "a"}, 64.0, 60)
            eventually(lambda: site.ask() == 200, "an answer")
            process.kill()
            eventually(lambda: not site.worker(url), "the worker to be gone")
        with engine(tmp_path, port):
            eventually(lambda: site.is_ready(url), "the worker again")
            eventually(lambda: site.ask() == 200, "an answer of its next life")
            one.process.terminate()
            assert one.ended() == 0
            assert "said goodbye; 1 of 1 routers have answered" in one.errors
            # The engine is there and healthy all the same.
            eventually(lambda: not site.worker(url), "the worker to be gone by its goodbye")


def test_with_keys_only_those_that_are_let_in_register(site: Site, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    write_new_pair(site.keys, "gpu", WORKERS)
    # A plane's key is none for workers.
    write_new_pair(site.keys, "plane")
    with ExitStack() as stack:
        stack.enter_context(engine(tmp_path, port))
        stranger = site.with_key(tmp_path / "stranger", url, "plane")
        stack.callback(stranger.close)
        stranger.says("our key is not let in: put its public part into workers/ of the folder of --discovery-keys")
        eventually(lambda: "refused a worker at 127.0.0.1" in site.router.errors, "the router's word about it")
        assert not site.worker(url)
        one = site.with_key(tmp_path / "one", url, "gpu")
        stack.callback(one.close)
        eventually(lambda: site.is_ready(url), "the worker")
        one.ready()
        name = "routerctl_discovery_keyed_connections_total"
        eventually(lambda: samples(site.router).get(name, 0.0) >= 2, "the metric")
        assert stranger.output == ""
        one.process.terminate()
        assert one.ended() == 0


def test_a_router_that_is_started_anew_learns_of_it(site: Site, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    # The interval is longer than the test: no ping tells it.
    flags = (f"--url={url}", f"--router={site.plain}", "--interval=600")
    with engine(tmp_path, port), registrar(tmp_path / "registrar", *flags):
        eventually(lambda: site.is_ready(url), "the worker")
        assert site.router.stop() == 0
        site.router.start().ready()
        eventually(lambda: site.is_ready(url), "the worker at the router's next run")
        eventually(lambda: site.ask() == 200, "an answer")
