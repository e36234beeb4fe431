"""Real routers before simulated prefill and decode workers that hand their KV cache over as vLLM with NIXL does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from dataplane.retry import AT_ONCE
from tests.faults.edge import connect, post
from tests.faults.law import law_holds, nothing_leaks
from tests.faults.load import Load
from tests.integration.routers import Router, eventually, samples, simulated_fleet, worker_urls

PROMPTS = [f"Tell me number {number} of the things that there are. " * number for number in range(1, 11)]


class Fleet(NamedTuple):
    """Each worker is a process of its own."""

    prefill: list[str]
    decode: list[str]
    processes: dict[str, subprocess.Popen[bytes]]


@contextmanager
def process(folder: Path, number: int, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    command = (sys.executable, "-u", "-m", "controlplane.sim", "--port=0", "--kv-connector=nixl", *arguments)
    said = folder / f"worker-{number}"
    with open(said, "wb") as log:
        worker = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            eventually(lambda: " ready at " in said.read_text() or worker.poll() is not None, "a simulated worker")
            assert worker.poll() is None, said.read_text()
            yield worker_urls(said.read_text())[0], worker
        finally:
            worker.kill()
            worker.wait()


@contextmanager
def two_and_two(folder: Path, *arguments: str) -> Iterator[Fleet]:
    with ExitStack() as stack:
        found = [stack.enter_context(process(folder, number, *arguments)) for number in range(4)]
        urls = [url for url, _ in found]
        yield Fleet(urls[:2], urls[2:], dict(found))


@contextmanager
def router_before(folder: Path, fleet: Fleet, *arguments: str) -> Iterator[Router]:
    lists = (*(f"--prefill={url}" for url in fleet.prefill), *(f"--decode={url}" for url in fleet.decode))
    router = Router(folder, "--data-planes=2", "--policy=round_robin", *lists, *arguments)
    try:
        router.start().ready()
        all_ready(router, 4)
        yield router
    finally:
        router.close()


def all_ready(router: Router, count: int) -> None:
    def states() -> list[str]:
        return [worker["state"] for worker in workers(router)]

    eventually(lambda: states() == ["ready"] * count, "all workers to be ready")


def both_halves(router: Router) -> tuple[dict[str, int], dict[str, int]]:
    """What the plane knows of prefill and of decode workers."""
    told = httpx.get(f"{router.url}/readiness", trust_env=False).json()
    return told["prefill"], told["decode"]


def workers(router: Router) -> list[dict[str, Any]]:
    answer = httpx.get(f"http://127.0.0.1:{router.admin_port}/workers", trust_env=False)
    found: list[dict[str, Any]] = answer.json()["workers"]
    return found


def text_of(client: httpx.Client, url: str, prompt: str, *, chat: bool, streamed: bool) -> str:
    """What a worker, or a pair of them, says to a prompt."""
    body: dict[str, Any] = {"model": "sim-model", "stream": streamed, "max_tokens": 12, "temperature": 0}
    body |= {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
    if streamed:
        body["stream_options"] = {"include_usage": True}
    answer = client.post(f"{url}/v1/{'chat/completions' if chat else 'completions'}", json=body)
    assert answer.status_code == 200, answer.text
    if streamed:
        *events, last = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        assert last == "[DONE]"
        choices = [choice for event in events for choice in json.loads(event)["choices"]]
        return "".join(choice["delta"].get("content", "") if chat else choice["text"] for choice in choices)
    (choice,) = answer.json()["choices"]
    return str(choice["message"]["content"] if chat else choice["text"])


def disaggregated(router: Router) -> float:
    return samples(router).get("routerctl_disaggregated_requests_total", 0.0)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
def test_g_pd_1_two_workers_say_what_one_says(pair: tuple[Router, Fleet], chat: bool, streamed: bool) -> None:
    router, fleet = pair
    with httpx.Client(timeout=30, trust_env=False) as client:
        for url in (*fleet.prefill, *fleet.decode):
            client.delete(f"{url}/sim/requests")
        for prompt in PROMPTS:
            alone = text_of(client, fleet.decode[0], prompt, chat=chat, streamed=streamed)
            client.delete(f"{fleet.decode[0]}/sim/requests")
            assert text_of(client, router.url, prompt, chat=chat, streamed=streamed) == alone
        counts = [client.get(f"{url}/sim/state").json()["handoffs"] for url in fleet.prefill]
        assert sum(count["kept"] for count in counts) == 0
        assert all(count["taken"] for count in counts)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Router, Fleet]]:
    folder = tmp_path_factory.mktemp("pair")
    # A version whose decode workers count all that was handed over as cached.
    flags = ("--time-scale=0", "--enable-prompt-tokens-details", "--vllm-version=0.30.0")
    with two_and_two(folder, *flags) as fleet, router_before(folder, fleet) as router:
        yield router, fleet


def test_both_roles_are_workers_like_all_others(pair: tuple[Router, Fleet]) -> None:
    router, fleet = pair
    assert {worker["url"]: worker["role"] for worker in workers(router)} == {
        **dict.fromkeys(fleet.prefill, "prefill"),
        **dict.fromkeys(fleet.decode, "decode"),
    }
    with httpx.Client(base_url=router.url, trust_env=False) as client:
        counts = {"healthy": 2, "total": 2}
        assert client.get("/readiness").json() == {"status": "ready", "prefill": counts, "decode": counts}
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["sim-model"]
        several = client.post("/v1/completions", json={"model": "sim-model", "prompt": ["a", "b"], "max_tokens": 2})
        assert len(several.json()["choices"]) == 2


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
def test_cached_tokens_are_those_that_a_prefill_worker_found(
    pair: tuple[Router, Fleet], chat: bool, streamed: bool
) -> None:
    router, _ = pair
    prompt = f"{chat}-{streamed}, which nobody has asked before. " * 30
    with httpx.Client(timeout=30, trust_env=False) as client:
        told = [usage_of(client, router.url, prompt, chat=chat, streamed=streamed) for _ in range(3)]
        # One of the two has the prompt for the second time at the third request at the latest.
        first, *_, last = sorted(usage["prompt_tokens_details"]["cached_tokens"] for usage in told)
        assert (first, told[0]["prompt_tokens_details"]["cached_tokens"]) == (0, 0)
        assert told[0]["prompt_tokens"] > 100
        assert told[0]["prompt_tokens"] - 16 <= last < told[0]["prompt_tokens"]


def usage_of(client: httpx.Client, url: str, prompt: str, *, chat: bool, streamed: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "sim-model", "stream": streamed, "max_tokens": 2}
    body |= {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
    if streamed:
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    answer = client.post(f"{url}/v1/{'chat/completions' if chat else 'completions'}", json=body)
    if streamed:
        *_, event, done = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        assert done == "[DONE]"
        return dict(json.loads(event)["usage"])
    return dict(answer.json()["usage"])


def test_a_receipt_shows_both_legs(pair: tuple[Router, Fleet]) -> None:
    router, fleet = pair
    answer = httpx.post(
        f"{router.url}/v1/completions",
        json={"model": "sim-model", "prompt": "x", "max_tokens": 2},
        headers={"x-request-id": "both-legs"},
        trust_env=False,
    )
    assert answer.status_code == 200
    command = (
        sys.executable,
        "-m",
        "controlplane.cli",
        "explain",
        "both-legs",
        f"--admin=http://127.0.0.1:{router.admin_port}",
    )
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line.split(",")[0].strip() for line in said.splitlines() if "  attempt" in line] == [
        "attempt 1 to prefill by round_robin",
        "attempt 2 to decode by round_robin",
    ]
    assert sum(url in said for url in fleet.prefill) >= 1


def test_workers_of_both_roles_can_be_added_to_a_running_router(tmp_path: Path) -> None:
    with two_and_two(tmp_path, "--time-scale=0") as fleet:
        router = Router(tmp_path, "--data-planes=1", "--vllm-pd-disaggregation")
        try:
            router.start().ready()
            nobody = {"healthy": 0, "total": 0}
            assert httpx.get(f"{router.url}/readiness", trust_env=False).status_code == 503
            assert both_halves(router) == (nobody, nobody)
            admin = f"http://127.0.0.1:{router.admin_port}"
            command = (sys.executable, "-m", "controlplane.cli", "workers", "add", fleet.prefill[0])
            subprocess.run((*command, "--role=prefill", f"--admin={admin}"), check=True, capture_output=True)
            body = {"url": fleet.decode[0], "role": "decode"}
            assert httpx.post(f"{admin}/workers", json=body, trust_env=False).status_code == 201
            one = {"healthy": 1, "total": 1}
            eventually(lambda: both_halves(router) == (one, one), "the plane to have both")
            with httpx.Client(timeout=30, trust_env=False) as client:
                assert text_of(client, router.url, "x", chat=True, streamed=False)
                assert client.get(f"{fleet.prefill[0]}/sim/state").json()["handoffs"]["taken"] == 1
        finally:
            router.close()


def more_answers(load: Load, count: int) -> None:
    goal = load.total + count
    eventually(lambda: load.total >= goal or bool(load.failed), f"{count} more answers")


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_g_pd_2_no_request_fails_when_a_worker_is_killed(tmp_path: Path, role: str) -> None:
    with (
        two_and_two(tmp_path, "--time-scale=0", "--record=0") as fleet,
        router_before(tmp_path, fleet) as router,
        law_holds(router),
        nothing_leaks(router),
        Load(router.url, 8) as load,
    ):
        more_answers(load, 100)
        fleet.processes[getattr(fleet, role)[0]].kill()
        more_answers(load, 300)
        assert load.failed == []
        eventually(lambda: disaggregated(router) > 0, "the figures")


@pytest.mark.slow
@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_g_pd_2_no_request_fails_when_a_worker_is_killed_that_has_had_it_for_more_than_a_second(
    tmp_path: Path, role: str
) -> None:
    slow = "--prefill-tokens-per-second=2" if role == "prefill" else "--decode-ms=2000"
    with (
        two_and_two(tmp_path, slow) as fleet,
        router_before(tmp_path, fleet) as router,
        law_holds(router),
        nothing_leaks(router),
        httpx.Client(trust_env=False, timeout=60) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        urls: list[str] = getattr(fleet, role)
        body = {"model": "sim-model", "prompt": "a prompt of some words and more", "max_tokens": 3}
        answer = pool.submit(client.post, f"{router.url}/v1/completions", json=body)

        def at_work() -> list[str]:
            return [url for url in urls if httpx.get(f"{url}/sim/state").json()["engine"]["running"]]

        eventually(lambda: len(at_work()) == 1, "an engine to be at it")
        (busy,) = at_work()
        # From then on a worker has had it for a while: what is tested begins there.
        time.sleep(AT_ONCE + 0.2)
        assert at_work() == [busy]
        fleet.processes[busy].kill()
        assert answer.result().status_code == 200


def test_g_pd_2_no_request_fails_when_a_prefill_worker_answers_503(tmp_path: Path) -> None:
    with (
        two_and_two(tmp_path, "--time-scale=0", "--record=0") as fleet,
        router_before(tmp_path, fleet) as router,
        law_holds(router),
        nothing_leaks(router),
        Load(router.url, 4) as load,
    ):
        more_answers(load, 50)
        httpx.post(f"{fleet.prefill[0]}/sim/faults", json={"name": "status", "status": 503, "path": "/v1"})
        more_answers(load, 300)
        assert load.failed == []


def test_without_decode_workers_prefill_workers_do_it_all(tmp_path: Path) -> None:
    with two_and_two(tmp_path, "--time-scale=0") as fleet, router_before(tmp_path, fleet) as router:
        for url in fleet.decode:
            fleet.processes[url].kill()
            fleet.processes[url].wait()
        with httpx.Client(timeout=30, trust_env=False) as client:
            for prompt in PROMPTS:
                alone = text_of(client, fleet.prefill[0], prompt, chat=True, streamed=True)
                assert text_of(client, router.url, prompt, chat=True, streamed=True) == alone


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_g_cancel_4_the_clients_leaving_frees_the_engine_of_the_open_leg(tmp_path: Path, role: str) -> None:
    slow = ("--prefill-tokens-per-second=1",) if role == "prefill" else ("--decode-ms=5000",)
    with (
        two_and_two(tmp_path, *slow) as fleet,
        router_before(tmp_path, fleet) as router,
        law_holds(router),
        nothing_leaks(router),
        httpx.Client(trust_env=False) as asker,
    ):
        urls: list[str] = getattr(fleet, role)

        def engines() -> list[dict[str, Any]]:
            return [asker.get(f"{url}/sim/state").json()["engine"] for url in urls]

        body = {"model": "sim-model", "prompt": "a prompt of some words", "max_tokens": 100, "stream": True}
        with connect(router) as client:
            client.sendall(post("/v1/completions", json.dumps(body).encode()))
            eventually(lambda: sum(engine["running"] for engine in engines()) == 1, "the engine to be at it")
        eventually(lambda: sum(engine["aborts"] for engine in engines()) == 1, "the engine to abort it")
        assert sum(engine["running"] + engine["waiting"] for engine in engines()) == 0


def test_a_fleet_without_roles_is_as_before(tmp_path: Path) -> None:
    with simulated_fleet(tmp_path, 1, "--time-scale=0") as urls:
        router = Router(tmp_path, "--data-planes=1", "--worker-urls", *urls)
        try:
            router.start().ready()
            answer = httpx.get(f"{router.url}/readiness", trust_env=False).json()
            assert answer == {"status": "ready", "healthy_workers": 1, "total_workers": 1}
        finally:
            router.close()
