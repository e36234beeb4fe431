"""`routerctl explain` and `--explain`: why a request went where it went, asked of a running router."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.commands import routerctl
from tests.integration.routers import Router, eventually, router_before, simulated_fleet

BODY = {"model": "sim-model", "prompt": "x", "max_tokens": 2}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 3) as urls:
        yield urls


@pytest.fixture
def router(tmp_path: Path, fleet: list[str]) -> Iterator[Router]:
    more = ("--policy=least_load", "--explain", "--cb-failure-threshold=2")
    with router_before(tmp_path, fleet, *more, planes=2) as router:
        yield router


def ask(router: Router, request: str) -> httpx.Response:
    return httpx.post(f"{router.url}/v1/completions", json=BODY, headers={"x-request-id": request}, trust_env=False)


def explain(router: Router, request: str, *more: str) -> subprocess.CompletedProcess[str]:
    return routerctl("explain", request, f"--runtime-dir={router.runtime.path}", *more)


def test_a_request_whose_worker_fails_and_is_out_then(router: Router, fleet: list[str]) -> None:
    eventually(lambda: all(ask(router, "warm").status_code == 200 for _ in range(3)), "three answers")
    sick = fleet[0]
    httpx.post(f"{sick}/sim/faults", json={"name": "status", "status": 500}, trust_env=False).raise_for_status()
    failed: list[str] = []

    def is_out() -> bool:
        request = f"try-{len(failed)}"
        answer = ask(router, request)
        failed.append(request)
        receipt = json.loads(explain(router, request, "--json").stdout)
        assert answer.headers["x-routerctl-attempts"] == str(len(receipt["attempts"]))
        left_out = {one["worker"]: one["reason"] for one in receipt["attempts"][0]["left_out"]}
        return "breaker is open" in left_out.get(sick, "")

    eventually(is_out, "the breaker opens")
    answer = ask(router, "after")
    assert answer.status_code == 200
    assert answer.headers["x-routerctl-worker"] in fleet[1:]
    assert answer.headers["x-routerctl-policy"] == "least_load"
    assert answer.headers["x-routerctl-attempts"] == "1"
    assert answer.headers["x-routerctl-why"]
    told = explain(router, "after")
    assert told.returncode == 0, told.stderr
    assert "request after: POST /v1/completions, model sim-model" in told.stdout
    assert f"left out: {sick}: its breaker is open: failed 2 times" in told.stdout
    assert "answered with 200" in told.stdout
    httpx.delete(f"{sick}/sim/faults", trust_env=False).raise_for_status()


def test_open_and_last_requests_are_listed(router: Router) -> None:
    def requests(*more: str) -> str:
        done = routerctl("requests", f"--runtime-dir={router.runtime.path}", *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert requests().startswith("0 open\n")
    ask(router, "mine")
    body = {**BODY, "max_tokens": 2000, "stream": True}
    with httpx.stream("POST", f"{router.url}/v1/completions", json=body, headers={"x-request-id": "long"}) as answer:
        parts = answer.iter_raw()
        next(parts)
        told = json.loads(requests("--json", "--limit=1"))
        assert [(one["request"], one["phase"]) for one in told["open"]] == [("long", "answering")]
        assert told["open"][0]["first_byte"] >= 0
        assert [one["request"] for one in told["ended"]] == ["mine"]
        assert "  long     answering  " in requests()
    eventually(lambda: "  long     aborted by client  " in requests("--troubled"), "its end")


def test_what_nobody_knows_of(router: Router) -> None:
    told = explain(router, "nobody's")
    assert told.returncode == 1
    assert "No plane knows of a request" in told.stderr
    assert "the router answered it itself (such as /v1/models" in told.stderr
