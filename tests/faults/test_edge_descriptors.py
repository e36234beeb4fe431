"""G-EDGE-5: a plane without file descriptors refuses clearly, stays calm, blames nobody and recovers."""

from __future__ import annotations

import json
import shutil
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from dataplane.descriptors import share_out
from tests.faults.edge import adds_up, allow_descriptors, chat, connect, cpu_seconds, open_files, read_answer
from tests.integration.routers import PATIENCE, Router, eventually, router_before, samples, simulated_fleet

pytestmark = pytest.mark.skipif(shutil.which("prlimit") is None, reason="there is no prlimit to limit a router with")

RECOVERY = 5.0
"""Seconds: the full run holds it."""


def refused(router: Router) -> None:
    """Check that one more client is told that there is no descriptor for it."""
    with connect(router) as client:
        client.sendall(chat(tokens=1, stream=False))
        status, body = read_answer(client)
        assert status == 503
        error = json.loads(body)["error"]
        assert (error["code"], error["type"]) == ("out_of_descriptors", "router_error")
        assert client.recv(1) == b"", "the descriptor of who was refused is needed, too"


def answered(router: Router) -> bool:
    with suppress(httpx.TransportError):
        return httpx.post(f"{router.url}/sim/echo", timeout=1, trust_env=False).status_code == 200
    return False


@pytest.mark.parametrize(
    ("limit", "within"),
    [(128, PATIENCE), pytest.param(4096, RECOVERY, marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
    ids=["128", "4096"],
)
def test_g_edge_5_without_descriptors_clients_hear_so_and_it_recovers(
    tmp_path: Path, limit: int, within: float
) -> None:
    """Streams that go on for long hold one connection on each side, until there is none left for the next."""
    allow_descriptors(2 * limit)
    fleet = ("--record=0", "--decode-ms=1000", "--max-num-seqs=4096", "--max-num-batched-tokens=8192")
    wrapper = ("prlimit", f"--nofile={limit}:{limit}", "--")
    with simulated_fleet(tmp_path, 2, *fleet) as workers, router_before(tmp_path, workers, wrapper=wrapper) as router:
        (plane,) = router.plane_pids()
        before = open_files(plane)
        with ExitStack() as stack:
            streams: list[socket.socket] = []
            for _ in range(share_out(limit).workers):
                stream = stack.enter_context(connect(router))
                stream.sendall(chat(tokens=500, stream=True))
                streams.append(stream)
            for stream in streams:
                assert stream.recv(15).startswith(b"HTTP/1.1 200")
            for _ in range(20):
                refused(router)
            assert open_files(plane) <= limit - 16

            # Clients who wait, because there is no place for them either, cost nothing.
            for _ in range(min(1000, 2 * share_out(limit).clients)):
                stack.enter_context(connect(router))
            began, used = time.monotonic(), cpu_seconds(plane)
            time.sleep(1)
            share = (cpu_seconds(plane) - used) / (time.monotonic() - began)
            assert share < 0.5, "a busy loop"
            eventually(
                lambda: samples(router)["routerctl_plane_client_connections"] >= share_out(limit).clients * 0.8,
                "the gauge to tell",
            )
            assert samples(router)["routerctl_worker_up"] == 2

        left = time.monotonic()
        eventually(lambda: answered(router), "an answer", within)
        recovered = time.monotonic() - left
        print(f"limit {limit}: {share:.1%} CPU while exhausted, recovered within {recovered:.2f} s")
        eventually(lambda: open_files(plane) <= before + 3, "every descriptor to be given back")
        eventually(lambda: samples(router)["routerctl_plane_client_connections"] == 0, "the gauge to fall")
        assert adds_up(samples(router))
        assert samples(router)["routerctl_worker_up"] == 2
        assert samples(router).get("routerctl_retries_total", 0) == 0
        said = router.errors
        assert "this plane has no file descriptor left" in said
        assert "client connections are open" in said
        assert "is unhealthy" not in said
