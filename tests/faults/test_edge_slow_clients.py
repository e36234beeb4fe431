"""G-EDGE-1: thousands of idle, silent and slow connections take nothing from clients that work, and have an end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from dataplane.client_connections import SILENT_LIMIT
from tests.faults.edge import adds_up, allow_descriptors, connect, cpu_seconds, open_files, post, read_answer, resident
from tests.faults.load import Load
from tests.integration.routers import Router, eventually, router_before, samples, simulated_fleet


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 2, "--time-scale=0", "--record=0") as urls:
        yield urls


@contextmanager
def crowd(router: Router, count: int) -> Iterator[None]:
    """So many clients of no use, by a process each 2,500; see crowd.py."""
    with ExitStack() as stack:
        processes = []
        for begin in range(0, count, 2500):
            size = min(2500, count - begin)
            command = (sys.executable, "-m", "tests.faults.crowd", str(router.port), str(size))
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield


def test_g_edge_1_every_request_is_answered_beside_500_slow_connections(tmp_path: Path, workers: list[str]) -> None:
    allow_descriptors(4096)
    with router_before(tmp_path, workers, planes=2) as router:
        before = [open_files(plane) for plane in sorted(router.plane_pids())]
        with crowd(router, 500), Load(router.url, 4) as load:
            eventually(lambda: load.total > 500 or bool(load.failed), "500 answers")
            eventually(lambda: samples(router)["routerctl_plane_client_connections"] >= 500, "the gauge to tell")
            status = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).json()
            assert sum(plane["client_connections"] for plane in status["planes"]) >= 500
            assert all(plane["client_connection_limit"] > 250 for plane in status["planes"])
        assert load.failed == []
        eventually(lambda: samples(router)["routerctl_active_requests"] == 0, "the slow ones to be gone")
        eventually(lambda: samples(router)["routerctl_plane_client_connections"] == 0, "the gauge to fall")
        assert adds_up(samples(router))
        eventually(
            lambda: all(
                open_files(plane) <= count + 8 for plane, count in zip(sorted(router.plane_pids()), before, strict=True)
            ),
            "every descriptor to be given back",
        )


def test_g_edge_1_a_body_that_stops_is_ended(tmp_path: Path, workers: list[str]) -> None:
    with router_before(tmp_path, workers, "--client-body-timeout-secs=1") as router:
        (plane,) = router.plane_pids()
        before = open_files(plane)
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(router)) for _ in range(20)]
            for client in clients:
                client.sendall(post("/v1/completions", b"x" * 100)[:-50])
            for client in clients:
                status, body = read_answer(client)
                assert (status, json.loads(body)["error"]["code"]) == (408, "request_body_timeout")
                assert client.recv(1) == b""
            eventually(lambda: open_files(plane) <= before, "every descriptor to be given back")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_g_edge_1_who_sends_no_request_is_cut_off(tmp_path: Path, workers: list[str]) -> None:
    openings = {
        "silent": b"",
        "half of an HTTP/2 preface": b"PRI * HTTP/2.0\r\n",
        "half of a head": b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n",
        "idle after an answer": b"GET /liveness HTTP/1.1\r\nhost: x\r\n\r\n",
    }
    with router_before(tmp_path, workers) as router, ExitStack() as stack:
        began = time.monotonic()
        lasted: dict[str, float] = {}

        def wait(name: str) -> None:
            client = stack.enter_context(connect(router))
            client.settimeout(90)
            client.sendall(openings[name])
            while client.recv(4096):
                continue
            lasted[name] = time.monotonic() - began

        threads = [threading.Thread(target=wait, args=(name,)) for name in openings]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(", ".join(f"{name}: {seconds:.1f} s" for name, seconds in lasted.items()))
        assert lasted.keys() == openings.keys()
        assert all(SILENT_LIMIT - 1 < seconds < SILENT_LIMIT + 15 for seconds in lasted.values())


class Goodput:
    """What a few clients get done, each on a connection of its own."""

    def __init__(self, router: Router, clients: int, seconds: float) -> None:
        planes = router.plane_pids()
        used = sum(map(cpu_seconds, planes))
        self.done = 0
        request = post("/sim/echo?bytes=200", b"{}")
        stop = time.monotonic() + seconds

        def work() -> None:
            with connect(router) as client:
                while time.monotonic() < stop:
                    client.sendall(request)
                    status, _ = read_answer(client)
                    assert status == 200
                    self.done += 1

        threads = [threading.Thread(target=work) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.cost = (sum(map(cpu_seconds, planes)) - used) / self.done
        """Seconds of the planes' CPU per request, which other work on the machine changes less."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_g_edge_1_goodput_beside_5000_slow_connections(tmp_path: Path, workers: list[str]) -> None:
    """Runs with and without them take turns, as other work on the machine comes and goes."""
    allow_descriptors(20_000)
    ratios = []
    with router_before(tmp_path, workers, planes=2) as router:
        planes = sorted(router.plane_pids())
        Goodput(router, 4, 2)
        for _ in range(3):
            alone = Goodput(router, 4, 5)
            memory = sum(map(resident, planes))
            with crowd(router, 5000):
                memory = sum(map(resident, planes)) - memory
                beside = Goodput(router, 4, 5)
            eventually(lambda: samples(router)["routerctl_active_requests"] == 0, "the slow ones to be gone")
            again = Goodput(router, 4, 5)
            ratios.append(2 * beside.done / (alone.done + again.done))
            rate, cost = (alone.done + again.done) / 10, (alone.cost + again.cost) / 2
            print(
                f"beside 5000: {beside.done / 5:.0f}/s, {beside.cost * 1e6:.0f} us of CPU per request; "
                f"alone: {rate:.0f}/s, {cost * 1e6:.0f} us; {memory / 5000 / 1024:.0f} KB of memory each"
            )
    print("ratios: " + ", ".join(f"{ratio:.3f}" for ratio in ratios))
    assert max(ratios) >= 0.95
