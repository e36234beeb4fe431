"""Real planes before simulated prefill and decode workers, when a worker fails or the link between two is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.law import law_holds
from tests.integration.routers import Router, eventually, simulated_fleet
from tests.integration.test_prefill_decode import all_ready, text_of, workers

PROMPTS = [f"Tell me number {number} of the things that there are. " * 2 for number in range(20)]


class Ends(NamedTuple):
    """A router, and the workers that it is before."""

    router: Router
    prefill: list[str]
    decode: list[str]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    folder = tmp_path_factory.mktemp("links")
    with simulated_fleet(folder, 4, "--time-scale=0", "--kv-connector=nixl") as urls:
        lists = (*(f"--prefill={url}" for url in urls[:2]), *(f"--decode={url}" for url in urls[2:]))
        router = Router(folder, "--data-planes=1", "--policy=random", *lists)
        try:
            router.start().ready()
            all_ready(router, 4)
            yield Ends(router, urls[:2], urls[2:])
        finally:
            router.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30, trust_env=False) as client:
        yield client


def fault(client: httpx.Client, url: str, fault: dict[str, Any]) -> None:
    assert client.post(f"{url}/sim/faults", json=fault).is_success


def forty_of_forty(client: httpx.Client, router: Router, alone: dict[str, str]) -> None:
    for streamed in (True, False):
        for prompt, text in alone.items():
            assert text_of(client, router.url, prompt, chat=False, streamed=streamed) == text


def said_alone(client: httpx.Client, url: str) -> dict[str, str]:
    return {prompt: text_of(client, url, prompt, chat=False, streamed=False) for prompt in PROMPTS}


def changes(router: Router, change: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "routerctl_pair_breaker_changes_total" and sample.labels["change"] == change
    )


def pairs(client: httpx.Client, router: Router) -> Any:
    return client.get(f"http://127.0.0.1:{router.admin_port}/status").json()["pairs"]


def cut(ends: Ends) -> dict[str, str]:
    return {"name": "cut", "peer": urlsplit(ends.prefill[0]).netloc}


def test_g_pd_2_a_cut_link_takes_out_the_pair_and_neither_worker(ends: Ends, client: httpx.Client) -> None:
    router = ends.router
    alone = said_alone(client, ends.prefill[1])
    fault(client, ends.decode[0], cut(ends))

    def opened() -> bool:
        forty_of_forty(client, router, alone)
        return changes(router, "opened") >= 1

    with law_holds(router):
        eventually(opened, "the pair to be left out")
        forty_of_forty(client, router, alone)
    assert [(one["state"], one["breaker"]["state"]) for one in workers(router)] == [("ready", "closed")] * 4
    left_out = (ends.prefill[0], ends.decode[0])
    eventually(
        lambda: left_out in [(one["prefill"], one["decode"]) for one in pairs(client, router)["open"]],
        "the plane to tell of it",
    )
    client.delete(f"{ends.decode[0]}/sim/faults")


@pytest.mark.slow
def test_g_pd_2_a_link_that_is_mended_is_used_again_after_one_try(ends: Ends, client: httpx.Client) -> None:
    router = ends.router
    alone = said_alone(client, ends.prefill[1])
    opened = changes(router, "opened")
    fault(client, ends.decode[0], cut(ends))

    def more_opened() -> bool:
        forty_of_forty(client, router, alone)
        return changes(router, "opened") > opened

    eventually(more_opened, "the pair to be left out")
    client.delete(f"{ends.decode[0]}/sim/faults")

    def closed() -> bool:
        forty_of_forty(client, router, alone)
        return changes(router, "closed") >= 1

    eventually(closed, "the pair to be tried and taken back")


@pytest.mark.slow
@pytest.mark.parametrize("failure", [{"name": "status", "status": 503}, {"name": "die", "worker": True}])
@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_g_pd_2_forty_of_forty_while_a_worker_fails(
    ends: Ends, client: httpx.Client, failure: dict[str, Any], role: str
) -> None:
    alone = said_alone(client, ends.prefill[1])
    failing: str = getattr(ends, role)[0]
    fault(client, failing, failure)
    with law_holds(ends.router):
        forty_of_forty(client, ends.router, alone)
    # It is dead: its neighbour is asked.
    client.delete(f"{ends.prefill[1]}/sim/workers/{[*ends.prefill, *ends.decode].index(failing)}/faults")
    all_ready(ends.router, 4)
