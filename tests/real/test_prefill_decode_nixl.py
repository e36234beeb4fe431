"""Prefill and decode on two real servers that hand KV cache over by NixlConnector.

On a machine whose cores the servers share their transfers stand still for seconds now and then: there
are few requests here, and they have time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.faults.law import law_holds, nothing_leaks
from tests.integration.routers import Router
from tests.real.conftest import prefill_and_decode
from tests.real.pairs import FORMS, PROMPTS, STALL, answer_to, pair_router, text_alone, text_in, text_of, ways
from tests.real.servers import MODEL, Server, eventually_true, figure
from tests.real.spoiler import Spoiler, spoiler_before

pytestmark = pytest.mark.parametrize("fleet", [prefill_and_decode], indirect=True)

FEW = PROMPTS[:2]


@pytest.fixture(scope="module")
def spoiled(fleet: list[Server]) -> Iterator[tuple[str, Spoiler]]:
    with spoiler_before(fleet[0].url) as one:
        yield one


@pytest.fixture(scope="module")
def router(
    fleet: list[Server], spoiled: tuple[str, Spoiler], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Router]:
    with pair_router(tmp_path_factory.mktemp("router"), spoiled[0], fleet[1].url) as one:
        yield one


def fetched(server: Server) -> float:
    """Tokens whose KV cache came from elsewhere."""
    return figure(server, "vllm:prompt_tokens_by_source_total", source="external_kv_transfer")


@pytest.mark.parametrize("form", FORMS)
def test_g_pd_1_two_workers_say_what_one_says(
    fleet: list[Server], router: Router, client: httpx.Client, form: str
) -> None:
    decode = fleet[1]
    with law_holds(router), nothing_leaks(router):
        before, before_ways = fetched(decode), ways(router).get("two-workers", 0)
        said = [text_of(client, router.url, f"{form}: {prompt}", FORMS[form]) for prompt in FEW]
        assert fetched(decode) > before
        eventually_true(lambda: ways(router).get("two-workers", 0) == before_ways + len(FEW), "the figures")
    assert [text_alone(client, decode, f"{form}: {prompt}", FORMS[form]) for prompt in FEW] == said


@pytest.mark.parametrize(
    "params",
    [
        {"kv_transfer_params": {"do_remote_prefill": True, "do_remote_decode": False}},
        {"kv_transfer_params": {"do_remote_prefill": True, "remote_engine_id": "x", "remote_block_ids": [[1]]}},
        {"vllm_xargs": {"kv_transfer_params": '{"do_remote_prefill": true}'}},
    ],
    ids=["partial", "made-up", "in-xargs"],
)
def test_a_clients_own_orders_for_kv_cache_reach_no_engine(
    fleet: list[Server], router: Router, client: httpx.Client, params: dict[str, Any]
) -> None:
    """Each of these would end the decode worker's engine."""
    form = FORMS["completion"]
    prompt = f"{params}"
    said = text_in(answer_to(client, router.url, prompt, form, **params), form)
    assert said == text_alone(client, fleet[1], prompt, form)
    body = {"model": MODEL, "prompt": "bado", "max_tokens": 4, **params}
    answer = client.post(f"{router.url}/v1/responses", json=body | {"input": "bado"}, timeout=STALL)
    assert answer.status_code in (200, 400)
    for server in fleet:
        assert server.is_alive
        assert client.get(f"{server.url}/health").status_code == 200


def another_engine(params: dict[str, Any]) -> None:
    params["remote_engine_id"] = "00000000-0000-0000-0000-000000000000"


def another_engine_at_a_closed_port(params: dict[str, Any]) -> None:
    params |= {"remote_engine_id": "00000000-0000-0000-0000-000000000001", "remote_port": 9}


@pytest.mark.parametrize("spoil", [another_engine, another_engine_at_a_closed_port])
@pytest.mark.parametrize("form", ["completion", "chat-stream"])
def test_g_pd_2_a_handoff_that_can_not_be_fetched_is_made_anew(
    fleet: list[Server],
    spoiled: tuple[str, Spoiler],
    router: Router,
    client: httpx.Client,
    spoil: Any,
    form: str,
) -> None:
    spoiler = spoiled[1]
    with law_holds(router), nothing_leaks(router):
        prompt, before = f"{form} {spoil.__name__}: {PROMPTS[0]}", spoiler.prefills
        spoiler.spoils.append(spoil)
        said = text_of(client, router.url, prompt, FORMS[form])
        assert spoiler.prefills == before + 2
    assert said == text_alone(client, fleet[1], prompt, FORMS[form])


def test_g_pd_2_a_prefill_worker_that_dies_between_the_legs(
    fleet: list[Server], spoiled: tuple[str, Spoiler], router: Router, client: httpx.Client
) -> None:
    """The right text, or an error; never another text. The last test here: it ends one of the servers."""
    prefill, decode = fleet
    spoiler = spoiled[1]
    with law_holds(router), nothing_leaks(router):
        form = FORMS["completion"]
        spoiler.spoils.append(lambda params: prefill.kill())
        answer = answer_to(client, router.url, PROMPTS[0], form)
        expected = text_alone(client, decode, PROMPTS[0], form)
        if answer.status_code == 200:
            assert text_in(answer, form) == expected
        else:
            assert answer.status_code >= 500
            assert answer.json()["error"]["message"]
        for name in FORMS:
            said = text_of(client, router.url, f"{name}: {PROMPTS[1]}", FORMS[name])
            assert said == text_alone(client, decode, f"{name}: {PROMPTS[1]}", FORMS[name])
