"""A stop under load: with a drain delay no client is refused or reset."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx

from tests.faults.load import Load
from tests.integration.routers import Router, eventually, simulated_fleet


def status_of(router: Router, path: str) -> int:
    try:
        return httpx.get(f"{router.url}{path}", trust_env=False).status_code
    except httpx.TransportError:
        return 0


def test_g_cp_5_a_stop_with_a_drain_delay_fails_no_request(tmp_path: Path) -> None:
    with simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as workers:
        router = Router(tmp_path, "--data-planes=2", "--drain-delay-secs=4", "--worker-urls", *workers)
        try:
            router.start().ready()
            assert status_of(router, "/readiness") == 200
            with Load(router.url, 6) as load:
                eventually(lambda: load.total > 200, "the first answers")
                router.process.send_signal(signal.SIGTERM)
                eventually(lambda: status_of(router, "/readiness") == 503, "the load balancer to be told")
                assert status_of(router, "/health") == 503
                assert status_of(router, "/liveness") == 200
                # Not many: the delay is short for a busy machine.
                goal = load.total + 20
                eventually(lambda: load.total > goal, "requests that are served while it drains")
                answer = httpx.post(
                    f"{router.url}/v1/completions", json={"model": "sim-model", "prompt": "x"}, trust_env=False
                )
                assert answer.status_code == 200
                assert answer.headers["connection"] == "close"
            # The load balancer has stopped sending, as it was told to.
            assert load.failed == []
            assert router.process.wait(30) == 0
            assert router.survivors() == []
        finally:
            router.close()
