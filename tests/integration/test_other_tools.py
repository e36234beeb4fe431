"""Other tools need nothing but another base URL: `vllm bench serve`, curl, the official client as the docs have them.

The benchmark's traffic is in the shape that it has in vLLM 0.32: it asks `/v1/models` for the model's name, sends one
request until it is answered, then streams requests over kept connections, each with an id of its own. A stream
counts only with a token, and the tokens are those of the `usage` at its end. With speculative decoding it reads
`/metrics` before and after.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from tests.integration.routers import Router

DOCS = Path(__file__).parents[2] / "docs"
REQUESTS, AT_ONCE, TOKENS = 24, 8, 6


class Outcome(NamedTuple):
    """What the tool makes of one answer."""

    status: int
    chunks: int
    text: str
    prompt_tokens: int
    output_tokens: int
    is_done: bool
    request_id: str


def _completion(model: str, number: int) -> tuple[str, dict[str, Any]]:
    prompt = f"Request {number} of a benchmark begins so."
    return "/v1/completions", {
        "model": model,
        "prompt": prompt,
        "repetition_penalty": 1.0,
        "max_tokens": TOKENS,
        "logprobs": None,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "temperature": 0.0,
    }


def _completion_of_tokens(model: str, number: int) -> tuple[str, dict[str, Any]]:
    path, body = _completion(model, number)
    return path, {**body, "prompt": list(range(number, number + 32))}


def _chat(model: str, number: int) -> tuple[str, dict[str, Any]]:
    content = [{"type": "text", "text": f"Request {number} of a benchmark begins so."}]
    return "/v1/chat/completions", {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_completion_tokens": TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "temperature": 0.0,
    }


async def _ask(client: httpx.AsyncClient, path: str, body: dict[str, Any], request_id: str) -> Outcome:
    chunks, text, usage, is_done = 0, "", {"prompt_tokens": 0, "completion_tokens": 0}, False
    async with client.stream("POST", path, json=body, headers={"x-request-id": request_id}) as answer:
        async for line in answer.aiter_lines():
            message = line.removeprefix("data: ")
            if not line or line.startswith(":"):
                continue
            if message == "[DONE]":
                is_done = True
                continue
            data = msgspec.json.decode(message)
            if choices := data.get("choices"):
                chunks += 1
                text += choices[0].get("text") or choices[0].get("delta", {}).get("content") or ""
            elif data.get("usage"):
                usage = data["usage"]
        told = answer.headers["x-request-id"]
        return Outcome(
            answer.status_code, chunks, text, usage["prompt_tokens"], usage["completion_tokens"], is_done, told
        )


@pytest.mark.parametrize("shape", [_completion, _completion_of_tokens, _chat])
def test_its_traffic_needs_no_change(router: Router, shape: Callable[[str, int], tuple[str, dict[str, Any]]]) -> None:
    async def bench() -> list[Outcome]:
        async with httpx.AsyncClient(base_url=router.url, timeout=60) as client:
            models = (await client.get("/v1/models")).json()["data"]
            model = models[0]["id"]
            probe = await _ask(client, *shape(model, 0), "bench-test")
            assert (probe.status, probe.is_done) == (200, True)
            places = asyncio.Semaphore(AT_ONCE)

            async def one(number: int) -> Outcome:
                async with places:
                    return await _ask(client, *shape(model, number), f"bench-{number}")

            return list(await asyncio.gather(*map(one, range(REQUESTS))))

    outcomes = asyncio.run(bench())
    assert [outcome.request_id for outcome in outcomes] == [f"bench-{number}" for number in range(REQUESTS)]
    for outcome in outcomes:
        assert (outcome.status, outcome.is_done, outcome.output_tokens) == (200, True, TOKENS)
        assert outcome.chunks >= 1
        assert outcome.text
        assert outcome.prompt_tokens > 0


def test_an_unknown_model_is_the_failure_that_it_reports(client: httpx.Client) -> None:
    path, body = _completion("nobody", 0)
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_metrics_on_the_data_port_are_a_workers(client: httpx.Client) -> None:
    assert "vllm:num_requests_running" in client.get("/metrics").text


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("page", ["from-vllm-router.md", "from-mvllm.md", "openai-clients.md"])
def test_the_curl_commands_of_the_docs(router: Router, page: str) -> None:
    lines = re.findall(r"^\$ (curl .*)$", (DOCS / page).read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        words = shlex.split(re.sub(r"http://127\.0\.0\.1:\d+", router.url, line))
        done = subprocess.run((*words, "-sSf", "--noproxy", "*"), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), line
        assert done.stdout


def test_the_python_of_the_docs(router: Router) -> None:
    snippets = re.findall(r"^```python\n(.*?)^```$", (DOCS / "openai-clients.md").read_text(), re.MULTILINE | re.DOTALL)
    known: dict[str, Any] = {}
    for snippet in snippets:
        exec(snippet.replace("http://127.0.0.1:30000", router.url), known)  # noqa: S102 - it is ours
    assert known["answer"].choices[0].message.content
    assert known["message"].content[0].text
    known["client"].close()
    known["claude"].close()
