"""Every endpoint of a real server, through the router: the client gets what the worker answers, byte by byte."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai
import pytest

from tests.faults.law import law_holds, nothing_leaks
from tests.integration.routers import Router, eventually, router_before, samples
from tests.real.conftest import two_alike
from tests.real.servers import MODEL, PATIENCE, Server

pytestmark = pytest.mark.parametrize("fleet", [two_alike], indirect=True)

QUESTION: list[Any] = [{"role": "user", "content": "bado kiru"}]
GREEDY: dict[str, Any] = {"model": MODEL, "temperature": 0}
TEXT = GREEDY | {"prompt": "bado", "max_tokens": 6}
CHAT = GREEDY | {"messages": QUESTION, "max_tokens": 6}
STREAM: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
ONE = STREAM | {"max_tokens": 1}
"""Of more tokens a busy server puts several into one event, another time other ones."""
LOAD = "endpoint-load-metrics"
RESPONSE = GREEDY | {"input": "bado", "max_output_tokens": 6}


class Asked(NamedTuple):
    method: str
    path: str
    body: dict[str, Any] | None = None
    status: int = 200


ASKED = {
    "version": Asked("GET", "/version"),
    "ping": Asked("POST", "/ping"),
    "load": Asked("GET", "/load"),
    "completion": Asked("POST", "/v1/completions", TEXT),
    "completion-of-ids": Asked("POST", "/v1/completions", TEXT | {"prompt": [5, 6, 7], "echo": True}),
    "completion-of-two": Asked("POST", "/v1/completions", TEXT | {"prompt": ["a", "b"], "n": 1}),
    "completion-stream": Asked("POST", "/v1/completions", TEXT | ONE),
    "chat": Asked("POST", "/v1/chat/completions", CHAT),
    "chat-stream": Asked("POST", "/v1/chat/completions", CHAT | ONE),
    "chat-batch": Asked("POST", "/v1/chat/completions/batch", CHAT | {"messages": [QUESTION, QUESTION]}),
    "response": Asked("POST", "/v1/responses", RESPONSE),
    "response-stream": Asked("POST", "/v1/responses", RESPONSE | {"stream": True, "max_output_tokens": 1}),
    "message": Asked("POST", "/v1/messages", CHAT),
    "message-stream": Asked("POST", "/v1/messages", CHAT | {"stream": True, "max_tokens": 1}),
    "count-tokens": Asked("POST", "/v1/messages/count_tokens", {"model": MODEL, "messages": QUESTION}),
    "tokenize": Asked("POST", "/tokenize", {"model": MODEL, "prompt": "bado kiru"}),
    "tokenize-chat": Asked("POST", "/tokenize", {"model": MODEL, "messages": QUESTION}),
    "detokenize": Asked("POST", "/detokenize", {"model": MODEL, "tokens": [5, 6, 7, 400]}),
    "invocations": Asked("POST", "/invocations", TEXT),
    "scoring": Asked(
        "POST",
        "/generative_scoring",
        {"model": MODEL, "query": "bado", "items": ["a", "b"], "label_token_ids": [5, 6]},
    ),
    "missing-field": Asked("POST", "/v1/completions", {"model": MODEL}, 400),
    "too-long": Asked("POST", "/v1/completions", TEXT | {"prompt": [5] * 40_000}, 400),
    "not-found": Asked("GET", "/nope", None, 404),
    "wrong-method": Asked("GET", "/v1/completions", None, 405),
}
MADE_EACH_TIME = re.compile(
    rb'(?<="created":)\d+|(?<="created_at":)\d+|(?<="completed_at":)\d+|(?<=")(?:resp|msg|modelperm)[-_]\w+(?=")'
)


@pytest.fixture(scope="module")
def router(fleet: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("router")
    arguments = ("--policy=round_robin", "--expose-worker")
    with router_before(folder, [server.url for server in fleet], *arguments, planes=2) as one:
        both_ready(one)
        yield one


def both_ready(router: Router) -> None:
    def ready() -> bool:
        told = httpx.get(f"{router.url}/readiness", trust_env=False).json()
        return bool(told["healthy_workers"] == 2)

    eventually(ready, "both workers to be ready")


def same_but_for_ids(content: bytes) -> bytes:
    return MADE_EACH_TIME.sub(b"-", content)


def fields(answer: httpx.Response) -> dict[str, str]:
    """An answer's fields, without those that the router may give others."""
    ours = ("date", "server", "x-request-id", "x-routerctl-worker", "content-length", "transfer-encoding")
    return {name: value for name, value in answer.headers.items() if name not in ours}


@pytest.mark.parametrize("name", ASKED)
def test_g_bytes_2_an_answer_is_the_workers(
    fleet: list[Server], router: Router, client: httpx.Client, name: str
) -> None:
    asked = ASKED[name]

    def answer_of(url: str) -> httpx.Response:
        headers = {"x-request-id": "the-same"}
        return client.request(asked.method, url + asked.path, json=asked.body, headers=headers)

    direct = answer_of(fleet[0].url)
    assert direct.status_code == asked.status, direct.text
    for _ in range(2):
        routed = answer_of(router.url)
        assert routed.status_code == direct.status_code
        assert same_but_for_ids(routed.content) == same_but_for_ids(direct.content)
        assert fields(routed) == fields(direct)
        assert routed.headers["x-request-id"] == "the-same"


def test_models_are_the_workers(fleet: list[Server], router: Router, client: httpx.Client) -> None:
    [theirs] = client.get(f"{fleet[0].url}/v1/models").json()["data"]
    [ours] = client.get(f"{router.url}/v1/models").json()["data"]
    made_each_time = ("created", "permission")
    assert [key for key in theirs if key not in made_each_time] == [key for key in ours if key not in made_each_time]
    assert {key: ours[key] for key in ours if key not in made_each_time} == {
        key: theirs[key] for key in theirs if key not in made_each_time
    }


def test_a_model_that_nobody_has(router: Router, client: httpx.Client) -> None:
    answer = client.post(f"{router.url}/v1/chat/completions", json=CHAT | {"model": "nope"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_the_official_client(router: Router) -> None:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE) as api:
        assert [model.id for model in api.models.list()] == [MODEL]
        whole = api.chat.completions.create(**CHAT)
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 6
        parts = list(api.chat.completions.create(**CHAT, **STREAM))
        said = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        assert said == whole.choices[0].message.content
        assert parts[-1].usage == whole.usage
        text = api.completions.create(**TEXT).choices[0].text
        assert "".join(part.choices[0].text for part in api.completions.create(**TEXT, stream=True)) == text
        response = api.responses.create(**RESPONSE)
        events = list(api.responses.create(**RESPONSE, stream=True))
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == response.output_text
        with pytest.raises(openai.NotFoundError):
            api.completions.create(**TEXT | {"model": "nope"})
        with pytest.raises(openai.BadRequestError):
            api.completions.create(**TEXT | {"prompt": [5] * 40_000})


def test_both_workers_get_their_share_and_the_figures_add_up(
    fleet: list[Server], router: Router, client: httpx.Client
) -> None:
    """G-FIG-1, and every request is at one worker only."""
    with law_holds(router), nothing_leaks(router):
        before = samples(router)
        chosen = [
            client.post(f"{router.url}/v1/completions", json=TEXT).headers["x-routerctl-worker"] for _ in range(20)
        ]
        assert set(chosen) == {server.url for server in fleet}
        counted = "routerctl_finished_requests_total"
        eventually(lambda: samples(router)[counted] >= before[counted] + 20, "the figures")


def test_the_engines_load_comes_from_the_real_page(fleet: list[Server], router: Router, client: httpx.Client) -> None:
    def loads() -> dict[str, Any]:
        told = client.get(f"http://127.0.0.1:{router.admin_port}/workers").json()["workers"]
        return {worker["url"]: worker["load"] for worker in told}

    # More than the engine takes at a time: some wait.
    body = TEXT | {"max_tokens": 20_000, "ignore_eos": True, "n": 12, "temperature": 1, "stream": True}
    with client.stream("POST", f"{fleet[0].url}/v1/completions", json=body) as answer:
        assert answer.status_code == 200

        def told() -> bool:
            busy, idle = (loads()[server.url] for server in fleet)
            return (busy["running"], busy["waiting"]) == (8, 4) and (idle["running"], idle["waiting"]) == (0, 0)

        eventually(told, "the busy engine's load")
    eventually(lambda: loads()[fleet[0].url]["running"] == 0, "the idle engine's load")


def test_the_load_in_an_answers_head_is_the_routers_own(
    fleet: list[Server], client: httpx.Client, tmp_path: Path
) -> None:
    def told() -> int:
        # vLLM logs a line for each.
        return sum(server.log.read_text().count("Created ORCA header") for server in fleet)

    before = told()
    # Its readings are soon too old, so it asks.
    arguments = ("--load-interval-ms=60000", "--policy=round_robin")
    with router_before(tmp_path, [server.url for server in fleet], *arguments) as router:
        both_ready(router)
        # The readings of the workers' first moment still count.
        time.sleep(1)
        for path, body in (("/v1/completions", TEXT), ("/v1/chat/completions", CHAT)) * 4:
            answer = client.post(f"{router.url}{path}", json=body)
            assert answer.status_code == 200
            assert LOAD not in answer.headers
    assert told() > before


def test_a_client_that_asks_for_the_load_gets_it(router: Router, client: httpx.Client) -> None:
    answer = client.post(f"{router.url}/v1/completions", json=TEXT, headers={f"{LOAD}-format": "TEXT"})
    assert answer.headers[LOAD].startswith("TEXT named_metrics.num_requests_waiting=")
