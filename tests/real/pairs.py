"""What the tests of prefill and decode on real servers share: routers, prompts, and what one server says by itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.routers import Router, eventually
from tests.real.servers import MODEL, Server

STALL = 300.0
"""Seconds for one answer: transfers between servers that share two cores stand still for a while now and then."""
PROMPTS = [f"Tell me number {number} of the bado kiru that feli. " * (number + 4) for number in range(10)]
_salts = itertools.count()


class Form(NamedTuple):
    """A way to ask for the same."""

    chat: bool
    streamed: bool


FORMS = {
    f"{'chat' if chat else 'completion'}{'-stream' if streamed else ''}": Form(chat, streamed)
    for chat in (True, False)
    for streamed in (True, False)
}


@contextmanager
def pair_router(folder: Path, prefill: str, decode: str, *arguments: str) -> Iterator[Router]:
    """A router before two servers, by their URLs."""
    router = Router(folder, "--data-planes=1", f"--prefill={prefill}", f"--decode={decode}", *arguments)
    try:
        router.start().ready()
        both = {"healthy": 1, "total": 1}
        eventually(
            lambda: (
                httpx.get(f"{router.url}/readiness", trust_env=False).json()
                == {"status": "ready", "prefill": both, "decode": both}
            ),
            "both workers to be ready",
        )
        yield router
    finally:
        router.close()


def answer_to(client: httpx.Client, url: str, prompt: str, form: Form, **more: Any) -> httpx.Response:
    body: dict[str, Any] = {"model": MODEL, "temperature": 0, "ignore_eos": True, "max_tokens": 16, **more}
    body |= {"messages": [{"role": "user", "content": prompt}]} if form.chat else {"prompt": prompt}
    if form.streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return client.post(f"{url}/v1/{'chat/completions' if form.chat else 'completions'}", json=body, timeout=STALL)


def text_in(answer: httpx.Response, form: Form) -> str:
    """The text of a whole answer."""
    assert answer.status_code == 200, answer.text
    if form.streamed:
        *events, last = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        assert last == "[DONE]"
        told = [json.loads(event) for event in events]
        assert told[-1]["usage"]["completion_tokens"] == 16
        choices = [choice for event in told for choice in event["choices"]]
        return "".join(choice["delta"].get("content", "") if form.chat else choice["text"] for choice in choices)
    assert answer.json()["usage"]["completion_tokens"] == 16
    (choice,) = answer.json()["choices"]
    return str(choice["message"]["content"] if form.chat else choice["text"])


def text_of(client: httpx.Client, url: str, prompt: str, form: Form) -> str:
    return text_in(answer_to(client, url, prompt, form), form)


def text_alone(client: httpx.Client, server: Server, prompt: str, form: Form) -> str:
    """What a server says that computes the whole prompt by itself: with its salt no cache has any of it."""
    return text_in(answer_to(client, server.url, prompt, form, cache_salt=f"salt-{next(_salts)}"), form)


def ways(router: Router) -> dict[str, float]:
    """How often decode legs began, by the way that their prompts' KV cache came."""
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    return {
        sample.labels["way"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "routerctl_disaggregated_requests_total" and sample.value
    }
