"""Reloads and applies, good and fuzzed, with workers that come and go, while clients ask without a pause."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.config_faults import RANGES
from tests.faults.load import Load
from tests.integration.routers import Router, eventually, simulated_fleet

CLIENTS = 4
COUNTS = [15, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
LIVE = sorted(RANGES.keys() - {"port", "admin_port", "prometheus_port", "data_planes", "shutdown_grace_secs"})


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[tuple[Router, list[str]]]:
    with simulated_fleet(tmp_path, 3, "--time-scale=0", "--record=0") as urls:
        (tmp_path / "r.toml").write_text(good(0, urls))
        router = Router(tmp_path, "--data-planes=2", "--config", str(tmp_path / "r.toml"), policy=None)
        try:
            router.start().ready()
            yield router, urls
        finally:
            router.close()


def good(number: int, urls: list[str]) -> str:
    """Return a file that is unlike the one before. The first worker is always there, the others come and go."""
    policy = ("round_robin", "random", "power_of_two")[number % 3]
    named = [urls[0], *(url for bit, url in enumerate(urls[1:]) if number >> bit & 1)]
    return (
        f"worker_urls = {json.dumps(named)}\n"
        f'policy = "{policy}"\nrequest_timeout_secs = {100 + number}\nload_interval_ms = {100 + number}\n'
    )


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


def change(client: httpx.Client, file: Path, text: str, *, apply: bool) -> httpx.Response:
    """Have the router go by a text: given to it, or put into its file."""
    if apply:
        return client.post("/config/apply", json={"text": text, "name": file.name})
    file.write_text(text)
    return client.post("/reload")


@pytest.mark.parametrize("count", COUNTS)
def test_g_cp_4_reloads_fail_no_request_and_bad_ones_change_nothing(
    fleet: tuple[Router, list[str]], count: int
) -> None:
    router, urls = fleet
    rng = random.Random(4)
    file = router.folder / "r.toml"
    admin = f"http://127.0.0.1:{router.admin_port}"
    with httpx.Client(base_url=admin, trust_env=False, timeout=60) as client, Load(router.url, CLIENTS) as load:
        for number in range(1, count + 1):
            apply = number % 4 < 2
            answer = change(client, file, good(number, urls), apply=apply).json()
            assert (answer["outcome"], answer["warnings"]) == ("applied", []), answer
            assert file.read_text() == good(number, urls)
            kept = router.runtime.config.read_bytes()
            history = client.get("/config/history").json()

            text, line = bad(rng)
            before = file.read_text()
            refusal = change(client, file, text, apply=apply)
            problems = refusal.json()["problems"]
            assert (refusal.status_code, refusal.json()["outcome"], refusal.json()["changes"]) == (409, "refused", [])
            assert any(f"r.toml:{line}: " in problem for problem in problems), (text, problems)
            assert file.read_text() == (before if apply else text)
            assert router.runtime.config.read_bytes() == kept
            assert client.get("/config/history").json() == history
            settings = client.get("/config").json()["values"]
            assert {value["key"]: value["value"] for value in settings}["request_timeout_secs"] == 100 + number
        named = sorted(url for url in urls if url in good(count, urls))
        eventually(lambda: ids(client) == named, "the workers of the last file")
    assert load.failed == []
    assert load.total > 0


def ids(client: httpx.Client) -> list[str]:
    return sorted(worker["id"] for worker in client.get("/workers").json()["workers"])
