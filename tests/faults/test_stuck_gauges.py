"""G-BAL-3 with real processes: an engine that looks full after a mass cancel gets requests again."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from time import monotonic

import httpx
import pytest

from tests.faults.load import Load
from tests.faults.test_breaker import asked, fault, forget, two_planes, value
from tests.integration.routers import PATIENCE, Router, eventually, simulated_fleet

LONG = {"model": "sim-model", "prompt": "x", "max_tokens": 5000, "stream": True}


def hold(router: Router, count: int) -> list[socket.socket]:
    """Begin so many long requests."""
    body = json.dumps(LONG).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    clients = [socket.create_connection(("127.0.0.1", router.port)) for _ in range(count)]
    for client in clients:
        client.sendall(head % len(body) + body)
    return clients


def running(worker: str) -> int:
    found = httpx.get(f"{worker}/sim/state", trust_env=False).json()["engine"]
    return int(found["running"] + found["waiting"])


@pytest.mark.parametrize("within", [PATIENCE, pytest.param(3.0, marks=pytest.mark.slow)], ids=["some time", "promise"])
def test_g_bal_3_a_worker_that_looks_full_after_a_mass_cancel_gets_requests_again(
    tmp_path: Path, within: float
) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--decode-ms=20", "--max-num-seqs=8") as workers,
        two_planes(tmp_path, workers, "--policy=power_of_two") as router,
    ):
        stuck = workers[0]
        fault(stuck, {"name": "stuck_gauges"})
        clients = hold(router, 40)
        eventually(lambda: value(router, "routerctl_engine_waiting", worker=stuck) > 0, "a full worker")
        for client in clients:
            client.close()
        eventually(lambda: not any(running(worker) for worker in workers), "all to be cancelled")
        cancelled = monotonic()
        # It says so itself; whatever it is asked now brings its gauges up to date.
        told = httpx.get(f"{stuck}/metrics", trust_env=False).text
        assert "vllm:num_requests_waiting{" in told
        assert value(router, "routerctl_engine_waiting", worker=stuck) > 0
        forget(stuck)
        with Load(router.url, 2):
            left = cancelled + within - monotonic()
            eventually(lambda: asked(stuck) > 0, "requests for the worker again", left)


def thirty_pass_by(load: Load, worker: str) -> bool:
    forget(worker)
    goal = load.total + 30
    eventually(lambda: load.total >= goal, "answers")
    return asked(worker) == 0


def test_what_others_have_at_a_worker_counts_while_it_moves(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--decode-ms=20", "--max-num-seqs=64") as workers,
        two_planes(tmp_path, workers, "--policy=power_of_two") as router,
    ):
        busy, idle = workers
        with httpx.Client(trust_env=False) as client:
            # Somebody who knows the worker's address.
            answers = [
                client.build_request("POST", f"{busy}/v1/completions", json=LONG | {"prompt": str(number)})
                for number in range(8)
            ]
            streams = [client.send(request, stream=True) for request in answers]
            eventually(lambda: value(router, "routerctl_engine_running", worker=busy) == 8, "the figures")
            with Load(router.url, 1) as load:
                # The figures are the control plane's first, then the planes'.
                eventually(lambda: thirty_pass_by(load, busy), "thirty answers that all come from the idle one")
            assert asked(idle) >= 30
            for stream in streams:
                stream.close()
