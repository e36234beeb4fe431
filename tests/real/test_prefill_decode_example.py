"""Prefill and decode on two real servers that share KV cache on disk (ExampleConnector)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.law import law_holds, nothing_leaks
from tests.integration.routers import Router
from tests.real.conftest import shared_folder, two_with_a_shared_folder
from tests.real.pairs import FORMS, PROMPTS, pair_router, text_alone, text_of, ways
from tests.real.servers import BLOCK_SIZE, Server, eventually_true, figure

pytestmark = pytest.mark.parametrize("fleet", [two_with_a_shared_folder], indirect=True)


@pytest.fixture(scope="module")
def router(fleet: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    prefill, decode = fleet
    folder = tmp_path_factory.mktemp("router")
    with pair_router(folder, prefill.url, decode.url, "--kv-connector=example") as one:
        yield one


def fetched(server: Server) -> float:
    """Tokens whose KV cache came from elsewhere."""
    return figure(server, "vllm:prompt_tokens_by_source_total", source="external_kv_transfer")


def empty_shared_folder(server: Server) -> None:
    """Leave nothing there that a server could take instead of computing it."""
    folder = shared_folder(server)
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("form", FORMS)
def test_g_pd_1_two_workers_say_what_one_says(
    fleet: list[Server], router: Router, client: httpx.Client, form: str
) -> None:
    decode = fleet[1]
    # New ones for each form: the decode worker's own cache would have the others.
    prompts = [f"{form}: {prompt}" for prompt in PROMPTS]
    with law_holds(router), nothing_leaks(router):
        before, before_ways = fetched(decode), ways(router).get("two-workers", 0)
        said = [text_of(client, router.url, prompt, FORMS[form]) for prompt in prompts]
        assert len(set(said)) > len(prompts) / 2
        # Each prompt but for its last, unfinished block was fetched.
        assert fetched(decode) - before > len(prompts) * BLOCK_SIZE
        eventually_true(lambda: ways(router).get("two-workers", 0) == before_ways + len(prompts), "the figures")
    empty_shared_folder(decode)
    before = fetched(decode)
    assert [text_alone(client, decode, prompt, FORMS[form]) for prompt in prompts] == said
    assert fetched(decode) == before


def test_g_pd_2_with_its_prefill_worker_dead_the_other_one_does_it_all(
    fleet: list[Server], router: Router, client: httpx.Client
) -> None:
    """The last test here: it ends one of the servers."""
    prefill, decode = fleet
    expected = [text_alone(client, decode, prompt, form) for form in FORMS.values() for prompt in PROMPTS]
    with law_holds(router), nothing_leaks(router):
        prefill.kill()
        said = [text_of(client, router.url, prompt, form) for form in FORMS.values() for prompt in PROMPTS]
        assert said == expected
        eventually_true(lambda: ways(router).get("one-worker", 0) >= 1, "the figures")
