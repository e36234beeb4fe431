"""A client that leaves frees the real engine's slot, whatever it was doing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.faults.law import law_holds, nothing_leaks
from tests.integration.routers import Router, router_before
from tests.real.conftest import two_alike
from tests.real.servers import MODEL, Server, eventually_true, figure

pytestmark = pytest.mark.parametrize("fleet", [two_alike], indirect=True)

PROMPT_TOKENS, ANSWER_TOKENS = 30_000, 30_000
"""Each takes the engine many seconds: whoever is done at once was freed."""
SLOTS = 8


@pytest.fixture(scope="module")
def router(fleet: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router before one of the servers."""
    with router_before(tmp_path_factory.mktemp("router"), [fleet[0].url], planes=2) as one:
        yield one


@contextmanager
def asking(router: Router, path: str, *, streamed: bool, **body: Any) -> Iterator[None]:
    """Have a request under way; its client leaves at the end."""
    greedy = {"model": MODEL, "temperature": 0, "ignore_eos": True, "max_tokens": ANSWER_TOKENS, "stream": streamed}
    asked = {"messages": [{"role": "user", "content": "bado"}]} if path.startswith("/v1/chat") else {"prompt": "bado"}
    content = json.dumps(greedy | asked | body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: router\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
    with socket.create_connection(("127.0.0.1", router.port)) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + content)
        yield


def running(server: Server) -> float:
    return figure(server, "vllm:num_requests_running")


def waiting(server: Server) -> float:
    return figure(server, "vllm:num_requests_waiting")


def made(server: Server) -> float:
    return figure(server, "vllm:generation_tokens_total")


def is_free(server: Server) -> bool:
    return running(server) == 0 and waiting(server) == 0


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("streamed", [True, False])
def test_g_cancel_leaving_an_answer_frees_the_slot(
    fleet: list[Server], router: Router, path: str, streamed: bool
) -> None:
    """G-CANCEL-3 and G-CANCEL-4."""
    server = fleet[0]
    with law_holds(router), nothing_leaks(router):
        before = made(server)
        with asking(router, path, streamed=streamed):
            eventually_true(lambda: made(server) > before, "the first tokens")
            assert running(server) == 1
        eventually_true(lambda: is_free(server), "the slot to be free")
        assert made(server) - before < ANSWER_TOKENS / 2


def test_g_cancel_2_leaving_in_prefill_frees_the_slot(fleet: list[Server], router: Router) -> None:
    server = fleet[0]
    with law_holds(router), nothing_leaks(router):
        before = made(server)
        prompt = [number % 900 for number in range(PROMPT_TOKENS)]
        with asking(router, "/v1/completions", streamed=True, prompt=prompt, max_tokens=2000):
            eventually_true(lambda: running(server) == 1, "the prompt to be computed")
            assert made(server) == before
        eventually_true(lambda: is_free(server), "the slot to be free")
        # None but what its prompt's last part may have made.
        assert made(server) - before < 2000 / 2


def test_g_cancel_2_leaving_the_engines_queue_leaves_the_others_alone(fleet: list[Server], router: Router) -> None:
    server = fleet[0]
    with law_holds(router), nothing_leaks(router):
        with asking(router, "/v1/completions", streamed=True, n=SLOTS, temperature=1):
            eventually_true(lambda: running(server) == SLOTS, "all slots to be taken")
            with asking(router, "/v1/chat/completions", streamed=False):
                eventually_true(lambda: waiting(server) == 1, "one that waits")
            eventually_true(lambda: waiting(server) == 0, "the queue to be empty")
            assert running(server) == SLOTS
        eventually_true(lambda: is_free(server), "the slots to be free")
