"""G-RETRY-1..4 with real processes; the everyday counts are small, `--slow` has the full ones."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.faults.load import Load
from tests.integration.routers import eventually, router_before, samples, simulated_fleet

BODY = {"model": "sim-model", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


def fault(worker: str, **fields: object) -> None:
    httpx.post(f"{worker}/sim/faults", json=fields, trust_env=False).raise_for_status()


@pytest.mark.parametrize("kind", [{"name": "refuse", "path": "/"}, {"name": "die", "path": "/v1/chat"}])
def test_g_retry_1_one_bad_worker_of_eight_costs_no_client_an_error(tmp_path: Path, kind: dict[str, object]) -> None:
    with simulated_fleet(tmp_path, 8, "--time-scale=0", "--record=0") as workers:
        with router_before(tmp_path, workers) as router, Load(router.url, 8) as load:
            eventually(lambda: load.total > 50, "the first answers")
            fault(workers[3], **kind)
            goal = load.total + 1000
            eventually(lambda: load.total > goal or bool(load.failed), "1000 answers more")
        assert load.failed == []


class _Stub(BaseHTTPRequestHandler):
    """As much of a worker as a health check sees."""

    def do_GET(self) -> None:
        body = b'{"object":"list","data":[{"id":"sim-model"}]}' if self.path == "/v1/models" else b""
        self.send_response(404 if self.path == "/metrics" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def black_hole() -> Iterator[tuple[str, Callable[[], None]]]:
    """A worker, and what turns it into a host that takes no connection and refuses none."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Stub)
    server.socket.listen(1)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    waiting: list[socket.socket] = []

    def swallow() -> None:
        server.shutdown()
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(server.server_address)
            waiting.append(filler)

    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", swallow
    finally:
        server.shutdown()
        thread.join()
        for filler in waiting:
            filler.close()
        server.server_close()


def test_g_retry_1_a_black_hole_of_eight_costs_no_client_an_error(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 7, "--time-scale=0", "--record=0") as workers,
        black_hole() as (hole, swallow),
        router_before(tmp_path, [*workers, hole], "--connect-timeout-secs=0.2") as router,
    ):
        eventually(lambda: samples(router)["routerctl_worker_up"] == 8, "all workers to be up")
        swallow()
        with Load(router.url, 8) as load:
            eventually(lambda: samples(router).get("routerctl_retries_total", 0) >= 2, "requests to fall into it")
            goal = load.total + 300
            eventually(lambda: load.total > goal or bool(load.failed), "300 answers more")
        assert load.failed == []
        assert samples(router)["routerctl_worker_up"] == 8


def test_g_retry_2_when_all_fail_retries_stay_in_the_budget_and_clients_hear_soon(tmp_path: Path) -> None:
    with simulated_fleet(tmp_path, 3, "--time-scale=0", "--record=0") as workers, ExitStack() as stack:
        # The budget of a plane grows from the plane's start.
        began = time.monotonic()
        router = stack.enter_context(router_before(tmp_path, workers))
        for worker in workers:
            fault(worker, name="die", path="/v1/chat")
        with httpx.Client(trust_env=False, timeout=30) as client:
            for _ in range(400):
                answer = client.post(f"{router.url}/v1/chat/completions", json=BODY)
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) >= 1
        lasted = time.monotonic() - began
        eventually(lambda: samples(router).get("routerctl_rejected_requests_total") == 400, "the figures")
        attempts = samples(router)["routerctl_worker_requests_total"]
        # A second's worth to begin with; and one connection of each worker may have gone stale, which is free.
        assert attempts <= 1.2 * 400 + 10 * (lasted + 1) + 3, lasted


def test_g_retry_3_a_storm_of_4xx_is_nobodys_fault(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as workers,
        router_before(tmp_path, workers) as router,
        httpx.Client(trust_env=False) as client,
    ):
        for status in (400, 401, 404, 409, 422):
            for _ in range(20):
                assert client.get(f"{router.url}/sim/echo?status={status}").status_code == status
        eventually(lambda: samples(router)["routerctl_finished_requests_total"] == 100, "the figures")
        assert samples(router).get("routerctl_retries_total", 0) == 0
        assert samples(router)["routerctl_worker_up"] == 2


def test_g_retry_3_statuses_that_the_rules_name_go_to_another_worker(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as workers,
        router_before(tmp_path, workers) as router,
        httpx.Client(trust_env=False) as client,
    ):
        for status, retried in ((429, True), (503, True), (408, True), (500, False), (502, False)):
            fault(workers[0], name="status", status=status)
            seen = {client.post(f"{router.url}/v1/chat/completions", json=BODY).status_code for _ in range(4)}
            assert seen == ({200} if retried else {200, status})


@pytest.mark.parametrize("count", [50, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_g_retry_4_a_worker_that_closes_idle_connections_costs_nothing(tmp_path: Path, count: int) -> None:
    """The worker's 5 s and the requests' 4.9 - 5.1 s are scaled down a hundred times."""
    rng = random.Random(4)
    with (
        simulated_fleet(tmp_path, 1, "--time-scale=0", "--record=0", "--idle-close=0.05") as workers,
        router_before(tmp_path, workers) as router,
        httpx.Client(trust_env=False) as client,
    ):
        for _ in range(count):
            assert client.post(f"{router.url}/v1/chat/completions", json=BODY).status_code == 200
            time.sleep(rng.uniform(0.049, 0.051))
