"""The adaptive limit of a simulated worker with six batch slots, asked for by four times as many clients."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.integration.routers import Router, router_before, simulated_fleet

SLOTS = 6
CLIENTS = 24
BODY = {"model": "sim-model", "prompt": "x", "max_tokens": 20, "stream": True, "ignore_eos": True}
STEADY = 8
PATIENCE = 120.0


def limit(router: Router) -> float:
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    (line,) = (line for line in text.splitlines() if line.startswith("routerctl_limit{"))
    return float(line.rsplit(" ", 1)[1])


def keep_asking(router: Router, over: threading.Event, failures: list[int]) -> None:
    with httpx.Client(trust_env=False, timeout=60.0) as client:
        while not over.is_set():
            answer = client.post(f"{router.url}/v1/completions", json=BODY)
            if answer.status_code != 200:
                failures.append(answer.status_code)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_it_finds_about_as_many_as_the_worker_has_slots(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 1, f"--max-num-seqs={SLOTS}", "--decode-ms=10") as workers,
        router_before(tmp_path, workers, "--adaptive-worker-limit", planes=2) as router,
    ):
        over, failures = threading.Event(), list[int]()
        clients = [threading.Thread(target=keep_asking, args=(router, over, failures)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            deadline, steady, seen = time.monotonic() + PATIENCE, 0, list[float]()
            while steady < STEADY:
                assert time.monotonic() < deadline, seen
                time.sleep(1.0)
                seen.append(limit(router))
                # It begins within the bounds by chance.
                is_found = len(set(seen)) > 1 and SLOTS - 1 <= seen[-1] <= 2 * SLOTS - 2
                steady = steady + 1 if is_found else 0
        finally:
            over.set()
            for client in clients:
                client.join()
        assert not failures
