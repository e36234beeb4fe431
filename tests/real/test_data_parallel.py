"""Two data-parallel engines behind one real server, each a worker of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.faults.law import law_holds, nothing_leaks
from tests.integration.routers import Router, eventually, router_before
from tests.real.conftest import ENGINE_BLOCKS, one_of_two_ranks
from tests.real.servers import BLOCK_SIZE, MODEL, MODEL_FOLDER, PATIENCE, Server, eventually_true, figure

pytestmark = pytest.mark.parametrize("fleet", [one_of_two_ranks], indirect=True)

RANKS = 2
HEADER = "x-data-parallel-rank"
BODY: dict[str, Any] = {"model": MODEL, "temperature": 0, "max_tokens": 4}
BLOCKS = 20
"""Half of what an engine holds."""


@pytest.fixture(scope="module")
def router(fleet: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    arguments = (
        f"--intra-node-data-parallel-size={RANKS}",
        "--expose-worker",
        "--load-interval-ms=100",
        "--policy=kv_aware",
        f"--tokenizer={MODEL_FOLDER}",
    )
    with router_before(tmp_path_factory.mktemp("router"), [fleet[0].url], *arguments, planes=2) as one:
        eventually(lambda: {worker["state"] for worker in workers(one).values()} == {"ready"}, "both ranks")
        yield one


def workers(router: Router) -> dict[str, Any]:
    told = httpx.get(f"http://127.0.0.1:{router.admin_port}/workers", timeout=30, trust_env=False).json()
    return {worker["id"]: worker for worker in told["workers"]}


def ids(server: Server) -> list[str]:
    return [f"{server.url}@{rank}" for rank in range(RANKS)]


def ask(client: httpx.Client, url: str, rank: int | str | None = None, **body: Any) -> httpx.Response:
    headers = {} if rank is None else {HEADER: str(rank)}
    return client.post(f"{url}/v1/completions", json={"prompt": "bado", **BODY, **body}, headers=headers)


def prompt(number: int) -> list[int]:
    """Token ids of BLOCKS blocks that no other number begins with."""
    return [(number * 37 + place) % 900 + 10 for place in range(BLOCKS * BLOCK_SIZE)]


def leads_to(router: Router, prompt: list[int], worker: str) -> None:
    """Wait until both planes send a prompt to a worker."""

    def chosen() -> set[str]:
        # Each on a connection of its own, so that any plane may get it.
        return {ask_anew(router.url, prompt) for _ in range(6)}

    eventually_true(lambda: chosen() == {worker}, worker)


def ask_anew(url: str, prompt: list[int]) -> str:
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        return ask(client, url, prompt=prompt).headers["x-routerctl-worker"]


def asked_of(server: Server) -> list[float]:
    """Requests that each engine has finished."""
    return [figure(server, "vllm:request_success_total", engine=str(rank)) for rank in range(RANKS)]


def held(router: Router) -> dict[str, int]:
    """KV blocks that the router knows of, by worker."""
    told = workers(router).items()
    return {key: sum(source["blocks"] for source in worker["kv"] or ()) for key, worker in told}


def test_both_engines_are_used_and_each_request_by_the_chosen_one(
    fleet: list[Server], router: Router, client: httpx.Client
) -> None:
    server = fleet[0]
    assert list(workers(router)) == ids(server)
    with law_holds(router), nothing_leaks(router):
        before = asked_of(server)
        # Unlike ones: an equal beginning would keep them together.
        chosen = Counter(
            ask(client, router.url, prompt=[number + 20] * 40).headers["x-routerctl-worker"] for number in range(30)
        )
        assert set(chosen) == set(ids(server))
        after = asked_of(server)
        assert [now - then for now, then in zip(after, before, strict=True)] == [chosen[key] for key in ids(server)]


def test_a_clients_choice_of_rank_is_kept(fleet: list[Server], router: Router, client: httpx.Client) -> None:
    server = fleet[0]
    for rank in range(RANKS):
        before = asked_of(server)
        for _ in range(5):
            assert ask(client, router.url, rank).headers["x-routerctl-worker"] == ids(server)[rank]
        expected = [count + 5 * (number == rank) for number, count in enumerate(before)]
        assert asked_of(server) == expected
    refused = ask(client, router.url, 7)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unknown_rank")


def test_each_rank_has_the_load_of_its_engine(fleet: list[Server], router: Router, client: httpx.Client) -> None:
    body = {"prompt": "bado", **BODY, "max_tokens": 900, "ignore_eos": True, "stream": True, "n": 8, "temperature": 1}

    def running() -> list[float]:
        return [worker["load"]["running"] for worker in workers(router).values()]

    def seen() -> bool:
        # It is over soon, so it is asked for until it was seen.
        with client.stream("POST", f"{router.url}/v1/completions", json=body, headers={HEADER: "1"}) as answer:
            assert answer.status_code == 200
            for _ in answer.iter_bytes():
                zero, one = running()
                assert zero == 0
                if one > 0:
                    return True
        return False

    eventually_true(seen, "the second engine's load")
    eventually_true(lambda: running() == [0, 0], "both engines to be idle")


def test_kv_events_lead_to_the_rank_that_holds_a_prompt_until_it_was_driven_out(
    fleet: list[Server], router: Router, client: httpx.Client
) -> None:
    server = fleet[0]
    for rank, key in enumerate(ids(server)):
        # Sent past the router.
        assert ask(client, server.url, rank, prompt=prompt(rank)).status_code == 200
        leads_to(router, prompt(rank), key)
    # Others take the blocks of the first engine. What it told of the last of them, it told after all that was before.
    for number in range(10, 14):
        assert ask(client, server.url, 0, prompt=prompt(number)).status_code == 200
    leads_to(router, prompt(13), ids(server)[0])
    first, second = (held(router)[key] for key in ids(server))
    assert BLOCKS <= first < ENGINE_BLOCKS
    assert BLOCKS <= second < ENGINE_BLOCKS
    hits = figure(server, "vllm:prefix_cache_hits_total", engine="0")
    ask(client, server.url, 0, prompt=prompt(0))
    assert figure(server, "vllm:prefix_cache_hits_total", engine="0") == hits
