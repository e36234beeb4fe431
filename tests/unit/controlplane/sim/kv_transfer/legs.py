"""The two legs of a disaggregated request, asked of simulated workers by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..client import COMPLETION, Answer, ask

PREFILL = {"do_remote_decode": True, "do_remote_prefill": False}
DECODE = {"do_remote_decode": False, "do_remote_prefill": True}
PROMPT = "Tell me about the routers of the world, all of them, one after the other."


def leg(url: str, order: Any, request_id: str = "r", **more: Any) -> Coroutine[Any, Any, Answer]:
    body = {**COMPLETION, "prompt": PROMPT, "max_tokens": 8, **more}
    if order is not None:
        body["kv_transfer_params"] = order
    return ask(url, "POST", "/v1/completions", body, {"x-request-id": request_id})


async def told(url: str, order: Any, request_id: str = "r", **more: Any) -> Any:
    """What a prefill worker hands over."""
    answer = await leg(url, order, request_id, max_tokens=1, **more)
    assert answer.status == 200, answer.body
    return answer.json["kv_transfer_params"]


async def said(url: str, order: Any, request_id: str = "r", **more: Any) -> str:
    """What a worker answers."""
    answer = await leg(url, order, request_id, **more)
    assert answer.status == 200, answer.body
    return str(answer.json["choices"][0]["text"])


async def dies(asked: Coroutine[Any, Any, Answer]) -> bool:
    """Whether the worker closes without an answer."""
    try:
        await asked
    except (ConnectionError, asyncio.IncompleteReadError):
        return True
    return False


async def state(url: str) -> Any:
    return (await ask(url, "GET", "/sim/state")).json


async def waits(asked: asyncio.Task[Any]) -> bool:
    """Whether there is no answer although everything that had to be done has been done."""
    return not (await asyncio.wait([asked], timeout=0.2))[0]
