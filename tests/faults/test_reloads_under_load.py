"""Reloads, good and fuzzed, while clients ask without a pause."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.config_faults import RANGES
from tests.faults.load import Load
from tests.integration.routers import Router, simulated_fleet

CLIENTS = 4
COUNTS = [30, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
LIVE = sorted(RANGES.keys() - {"port", "admin_port", "prometheus_port", "data_planes", "shutdown_grace_secs"})


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    (tmp_path / "r.toml").write_text("")
    with simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as urls:
        router = Router(tmp_path, "--data-planes=2", "--config", str(tmp_path / "r.toml"), "--worker-urls", *urls)
        try:
            router.start().ready()
            yield router
        finally:
            router.close()


def good(number: int) -> str:
    policy = ("round_robin", "random", "power_of_two")[number % 3]
    return f'policy = "{policy}"\nrequest_timeout_secs = {100 + number}\nload_interval_ms = {100 + number}\n'


def bad(rng: random.Random) -> tuple[str, int]:
    """Return a file with something wrong in it, and the line where that stands."""
    field = rng.choice(LIVE)
    low, high = RANGES[field]
    wrong = rng.choice(
        [
            f"{field} = {int(high) + 1 + rng.randrange(1000)}",
            f"{field} = {-1 - rng.randrange(1000)}",
            f'{field} = "{low}"',
            f"{field} = [{low}]",
            f"{field}x = {low}",
            f"{field} = = {low}",
            f"{field} = {low}\n{field} = {low}",
            f"[{field}]",
            'policy = "best"',
            'plane_affinity = "none"',
            "request_id_headers = 7",
        ]
    )
    above = rng.randrange(4)
    # A repeated key is found where it is repeated.
    return "# comment\n" * above + wrong + "\nexpose_worker = true\n", above + 1 + wrong.count("\n")


@pytest.mark.parametrize("count", COUNTS)
def test_g_cp_4_reloads_fail_no_request_and_bad_ones_change_nothing(router: Router, count: int) -> None:
    rng = random.Random(4)
    file = router.folder / "r.toml"
    admin = f"http://127.0.0.1:{router.admin_port}"
    with httpx.Client(base_url=admin, trust_env=False, timeout=60) as client, Load(router.url, CLIENTS) as load:
        for number in range(count):
            file.write_text(good(number))
            answer = client.post("/reload").json()
            assert (answer["outcome"], answer["warnings"]) == ("applied", []), answer
            kept = router.runtime.config.read_bytes()
            table = client.get("/status").json()["control_plane"]["table"]

            text, line = bad(rng)
            file.write_text(text)
            refusal = client.post("/reload")
            problems = refusal.json()["problems"]
            assert (refusal.status_code, refusal.json()["outcome"], refusal.json()["changes"]) == (409, "refused", [])
            assert any(f"r.toml:{line}: " in problem for problem in problems), (text, problems)
            assert router.runtime.config.read_bytes() == kept
            assert client.get("/status").json()["control_plane"]["table"] == table
    assert load.failed == []
    assert load.total > 0
