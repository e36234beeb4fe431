"""kv_aware before real engines: what they publish, and how they read prompts, is what the router takes it for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.routers import Router, router_before
from tests.integration.test_kv_aware import blocks
from tests.real.conftest import two_alike
from tests.real.servers import BLOCK_SIZE, MODEL, MODEL_FOLDER, PATIENCE, Server, eventually_true, figure

pytestmark = pytest.mark.parametrize("fleet", [two_alike], indirect=True)

TEXT = " ".join(f"bado kiru {number}: feli nomu?" for number in range(30))
OTHER = "So, " + TEXT
IDS = [number % 900 + 10 for number in range(0, 3000, 7)]
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("/v1/completions", {"prompt": TEXT}),
    "ids": ("/v1/completions", {"prompt": IDS}),
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": TEXT}]}),
    "parts": (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "system", "content": "You are kind.\n"},
                {"role": "user", "content": [{"type": "text", "text": TEXT}, {"type": "text", "text": OTHER}]},
                {"role": "assistant", "content": "Nomu."},
                {"role": "user", "content": " Why? "},
            ]
        },
    ),
    "salted": ("/v1/completions", {"prompt": TEXT, "cache_salt": "mine"}),
}
ROUNDS = 8


@pytest.fixture(scope="module")
def router(fleet: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("router")
    with router_before(folder, [server.url for server in fleet], *flags(), planes=2) as one:
        yield one


def flags() -> tuple[str, ...]:
    return "--policy=kv_aware", "--expose-worker", f"--tokenizer={MODEL_FOLDER}"


@pytest.fixture(autouse=True)
def empty_caches(fleet: list[Server], router: Router, client: httpx.Client) -> None:
    """Nobody holds anything, and the router knows."""
    for server in fleet:
        assert client.post(f"{server.url}/reset_prefix_cache").status_code == 200
        make_a_step(client, server)
    know(router, {})


def ask(client: httpx.Client, url: str, path: str, body: dict[str, Any]) -> httpx.Response:
    answer = client.post(f"{url}{path}", json={"model": MODEL, "max_tokens": 1, "temperature": 0, **body})
    assert answer.status_code == 200, answer.text
    return answer


def make_a_step(client: httpx.Client, server: Server) -> None:
    """Have an engine do something: it tells what became of its cache with its next step, and this leaves no block."""
    ask(client, server.url, "/v1/completions", {"prompt": "bado"})


def prompt_blocks(answer: httpx.Response) -> int:
    """Full blocks of a prompt's."""
    return int(answer.json()["usage"]["prompt_tokens"]) // BLOCK_SIZE


def know(router: Router, wanted: dict[str, int]) -> None:
    """Wait until the control plane and both planes know of so many blocks of each worker."""

    def known() -> bool:
        try:
            by_worker, in_planes = blocks(router)
        except (httpx.TransportError, KeyError):
            # Another control plane is about to listen.
            return False
        held = {worker: count for worker, count in by_worker.items() if count}
        return held == wanted and in_planes == [sum(wanted.values())] * 2

    eventually_true(known, f"{wanted}")


def chosen(router: Router, path: str, body: dict[str, Any]) -> set[str]:
    """The workers that some requests went to, each on a connection of its own, so that any plane may get it."""
    workers = set()
    for _ in range(ROUNDS):
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            workers.add(ask(client, router.url, path, body).headers["x-routerctl-worker"])
    return workers


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_repeated_prompt_goes_to_the_engine_that_has_it(
    fleet: list[Server], router: Router, client: httpx.Client, kind: str
) -> None:
    """The router's tokenizer and chat template make the same tokens of it as vLLM's, or nothing would be found."""
    path, body = REQUESTS[kind]
    # Sent past the router: only the event can tell it.
    holder = fleet[1]
    held = prompt_blocks(ask(client, holder.url, path, body))
    assert held > 5
    know(router, {holder.url: held})
    hits = figure(holder, "vllm:prefix_cache_hits_total")
    assert chosen(router, path, body) == {holder.url}
    assert figure(holder, "vllm:prefix_cache_hits_total") - hits >= ROUNDS * (held - 1) * BLOCK_SIZE
    know(router, {holder.url: held})


def test_an_answers_blocks_are_known_too(fleet: list[Server], router: Router, client: httpx.Client) -> None:
    asked = ask(client, fleet[1].url, "/v1/completions", {"prompt": IDS, "max_tokens": 200, "ignore_eos": True})
    whole = (len(IDS) + 200 - 1) // BLOCK_SIZE
    assert whole > prompt_blocks(asked)
    know(router, {fleet[1].url: whole})


def test_a_cleared_cache_is_known(fleet: list[Server], router: Router, client: httpx.Client) -> None:
    """vLLM clears it in its development mode; the router's own way to ask for it reaches both."""
    for server in fleet:
        ask(client, server.url, "/v1/completions", {"prompt": IDS})
    know(router, dict.fromkeys((server.url for server in fleet), len(IDS) // BLOCK_SIZE))
    assert client.post(f"{router.url}/flush_cache").status_code == 200
    for server in fleet:
        make_a_step(client, server)
    know(router, {})


def test_g_kv_4_what_was_published_meanwhile_is_asked_for(
    fleet: list[Server], router: Router, client: httpx.Client
) -> None:
    """Past messages come from vLLM's replay socket."""
    pid = router.control_plane_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    ask(client, fleet[1].url, "/v1/completions", {"prompt": IDS})
    eventually_true(lambda: router.control_plane_pid() not in (None, pid), "another control plane")
    know(router, {fleet[1].url: len(IDS) // BLOCK_SIZE})
    assert chosen(router, "/v1/completions", {"prompt": IDS}) == {fleet[1].url}


def test_a_router_that_comes_later_learns_what_is_held(
    fleet: list[Server], router: Router, client: httpx.Client, tmp_path: Path
) -> None:
    ask(client, fleet[1].url, "/v1/completions", {"prompt": IDS})
    know(router, {fleet[1].url: len(IDS) // BLOCK_SIZE})
    with router_before(tmp_path, [server.url for server in fleet], *flags(), planes=2) as late:
        know(late, {fleet[1].url: len(IDS) // BLOCK_SIZE})
