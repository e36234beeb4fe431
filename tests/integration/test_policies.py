"""Policies in routers of several planes: what one plane learns, all go by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.integration.routers import Router, eventually, router_before, samples, simulated_fleet

MODEL = "sim-model"
TEXT = "The quick brown fox jumps over the lazy dog. " * 40


@contextmanager
def fleet_of_three(folder: Path, *arguments: str) -> Iterator[Router]:
    with (
        simulated_fleet(folder, 3, "--time-scale=0") as workers,
        router_before(folder, workers, "--expose-worker", *arguments, planes=2) as router,
    ):
        eventually(lambda: samples(router).get("routerctl_planes", 2) >= 2, "both planes")
        yield router


def ask(router: Router, messages: list[dict[str, str]], **headers: str) -> str:
    """Ask on a connection of its own, so that any plane may get it; return the worker that answered."""
    body: dict[str, Any] = {"model": MODEL, "messages": messages, "max_tokens": 2}
    answer = httpx.post(f"{router.url}/v1/chat/completions", json=body, headers=headers, trust_env=False)
    answer.raise_for_status()
    return answer.headers["x-routerctl-worker"]


def decisions(router: Router) -> dict[str, float]:
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("routerctl_policy_decisions_total{")]
    return {line.split('outcome="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_conversations_stay_with_their_worker_on_both_planes(tmp_path: Path) -> None:
    with fleet_of_three(tmp_path, "--policy=cache_aware") as router:
        homes = Counter()  # type: Counter[str]
        conversations = [[{"role": "user", "content": f"{number} {TEXT}"}] for number in range(12)]
        for messages in conversations:
            for _ in range(4):
                # Not always the same yet: what one plane has in flight, another one hears of a little later.
                homes[ask(router, messages)] += 1
                messages += [{"role": "assistant", "content": TEXT}, {"role": "user", "content": "and then?"}]
        assert len(homes) > 1
        asked = 48

        def nobody_misses() -> bool:
            nonlocal asked
            eventually(lambda: sum(decisions(router).values()) == asked, "the account of all choices")
            missed = decisions(router)["prefix_miss"]
            for messages in conversations:
                ask(router, messages)
            asked += len(conversations)
            eventually(lambda: sum(decisions(router).values()) == asked, "the account of these choices")
            return decisions(router)["prefix_miss"] == missed

        # A plane hears of what the other one has learnt a tenth of a second later.
        eventually(nobody_misses, "both planes to know all conversations")


def test_sessions_stay_until_they_are_finished(tmp_path: Path) -> None:
    with fleet_of_three(tmp_path, "--policy=sticky_least_loaded") as router:
        messages = [{"role": "user", "content": "hello"}]
        sessions = [str(number) for number in range(30)]

        def homes() -> list[str]:
            return [ask(router, messages, **{"x-session-id": session}) for session in sessions]

        first, *later = (homes() for _ in range(4))
        # A plane hears of those of the other one a tenth of a second later: one or the other may be asked for before.
        stayed = [home for home, *others in zip(first, *later, strict=True) if set(others) == {home}]
        assert len(stayed) >= 27
        answer = httpx.post(f"{router.url}/finish_session?session_id=3", trust_env=False)
        assert json.loads(answer.content) == {"status": "ok", "session_id": "3"}


def test_each_half_and_each_model_goes_by_its_own_policy(tmp_path: Path) -> None:
    with simulated_fleet(tmp_path, 4, "--kv-connector=nixl") as urls:
        file = tmp_path / "r.toml"
        text = (
            f"prefill = {json.dumps(urls[:2])}\ndecode = {json.dumps(urls[2:])}\n"
            'policy = "random"\nprefill_policy = "cache_aware"\ndecode_policy = "least_load"\n[policies]\n'
        )
        file.write_text(f'{text}"not-there" = "power_of_two"\n')
        router = Router(tmp_path, "--data-planes=2", "--explain", "--config", str(file), policy=None)
        try:
            router.start().ready()
            eventually(lambda: ready(router) == 4, "all workers")
            body = {"model": MODEL, "messages": [{"role": "user", "content": TEXT}], "max_tokens": 2}
            answer = httpx.post(f"{router.url}/v1/chat/completions", json=body, trust_env=False)
            assert (answer.status_code, answer.headers["x-routerctl-policy"]) == (200, "least_load")
            legs = [(one["leg"], one["policy"]) for one in explained(router, answer)["attempts"]]
            assert legs == [("prefill", "cache_aware"), ("decode", "least_load")]
            # Several prompts are one worker's work.
            several = {"model": MODEL, "prompt": ["a", "b"], "max_tokens": 2}
            answer = httpx.post(f"{router.url}/v1/completions", json=several, trust_env=False)
            assert answer.headers["x-routerctl-policy"] == "random"
            assert policies(router)["plain", "not-there"]["unserved"] == "no worker serves it"

            file.write_text(f'{text.replace("least_load", "consistent_hash")}"{MODEL}" = "consistent_hash"\n')
            told = httpx.post(f"http://127.0.0.1:{router.admin_port}/reload", trust_env=False)
            assert told.json()["outcome"] == "applied"
            # The body holds no prompt, and nobody says whose session it is.
            answer = httpx.post(f"{router.url}/v1/embeddings", json={"model": MODEL}, trust_env=False)
            assert answer.headers["x-routerctl-policy"] == "consistent_hash"
            eventually(lambda: policies(router)["plain", MODEL]["lacks"], "the planes to tell what it lacked")
            [lack] = policies(router)["plain", MODEL]["lacks"]
            assert (lack["outcome"], lack["count"]) == ("no_key", 1)
            assert "least loaded worker" in lack["sentence"]
            assert not policies(router)["decode", None]["lacks"]
            metrics = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
            assert f'{{model="{MODEL}",outcome="no_key",policy="consistent_hash",pool="plain"}} 1.0' in metrics
        finally:
            router.close()


def status(router: Router) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).json()
    return found


def ready(router: Router) -> int:
    return sum(worker["state"] == "ready" for worker in status(router)["workers"])


def policies(router: Router) -> dict[tuple[str, str | None], dict[str, Any]]:
    return {(one["pool"], one["model"]): one for one in status(router)["policies"]}


def explained(router: Router, answer: httpx.Response) -> dict[str, Any]:
    """The receipt; a request is there once it has ended, which may be a moment after its client has the answer."""
    address = f"http://127.0.0.1:{router.admin_port}/explain/{answer.headers['x-request-id']}"
    eventually(lambda: httpx.get(address, trust_env=False).status_code == 200, "the receipt")
    found: dict[str, Any] = httpx.get(address, trust_env=False).json()
    return found
