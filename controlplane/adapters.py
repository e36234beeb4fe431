"""Loads and unloads LoRA adapters at all workers of a model, and has them asked for their models again at once.

The answer comes when that is done, so that a request which follows it finds the adapter.

vLLM takes these requests where it was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING, and only for itself.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from controlplane.prober import Prober
from controlplane.registry import Registry
from controlplane.worker_client import FetchError, WorkerClient
from shared.adapters import (
    PATHS,
    REREAD_WITHIN,
    WITHIN,
    AdapterBody,
    AdapterOrder,
    AdapterProblem,
    AdapterReport,
    AdapterVerb,
)
from shared.decoding import DECODE_ERRORS
from shared.tls import WorkerTls
from shared.worker_key import WorkerKey

_AT_ONCE = 64
_MAX_ANSWER = 64 * 1024
_MAX_REASON = 500

log = logging.getLogger(__name__)


class _Error(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    error: _Error


class Adapters:
    """Passes orders on."""

    def __init__(self, registry: Registry, prober: Prober | None, tls: WorkerTls | None, key: WorkerKey | None) -> None:
        """`prober` asks servers for their models."""
        self._registry = registry
        self._prober = prober
        self._tls = tls
        self._key = key

    async def order(self, verb: AdapterVerb, order: AdapterOrder) -> AdapterReport | AdapterProblem:
        """Pass an order on to every worker that it is for, `_AT_ONCE` at a time, and tell who did it."""
        try:
            name = msgspec.json.decode(order.body, type=AdapterBody).lora_name
        except DECODE_ERRORS as error:
            return AdapterProblem(code="bad_adapter", message=f"The body names no adapter: {error}.")
        urls = self._urls(order.model)
        if not urls:
            what = f"has a model by that name: `{order.model[:200]}`" if order.model is not None else "is known"
            return AdapterProblem(code="adapter_for_nobody", message=f"No worker {what}.")
        turns = asyncio.Semaphore(_AT_ONCE)
        deadline = asyncio.get_running_loop().time() + WITHIN

        async def ask(url: str) -> str:
            async with turns:
                return await self._ask(url, PATHS[verb], order.body.encode(), deadline)

        reasons = dict(zip(urls, await asyncio.gather(*map(ask, urls)), strict=True))
        done = tuple(url for url, reason in reasons.items() if not reason)
        failed = {url: reason for url, reason in reasons.items() if reason}
        for url, reason in failed.items():
            log.warning("%s of %r: worker %s did not do it: %s", verb, name[:200], url, reason)
        log.info("%s of %r: done by %d of %d workers", verb, name[:200], len(done), len(urls))
        if self._prober is not None:
            await self._prober.reread(done, REREAD_WITHIN)
        return AdapterReport(done=done, failed=failed)

    def _urls(self, model: str | None) -> list[str]:
        workers = [member.worker for member in self._registry.members()]
        return list(dict.fromkeys(one.url for one in workers if model is None or model in (one.models or ())))

    async def _ask(self, url: str, path: str, body: bytes, deadline: float) -> str:
        """Return why a worker did not do it; an empty text when it did."""
        left = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(left), WorkerClient(url, keep_alive=False, tls=self._tls, key=self._key) as one:
                answer = await one.post_json(path, body, limit=_MAX_ANSWER, timeout=max(0.001, left))
        except FetchError as error:
            return error.reason
        except TimeoutError:
            return f"no answer within {WITHIN:g} s"
        if answer.status == 404 and b'"detail"' in answer.body[:16]:
            return "it takes no adapters while it runs; start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
        return "" if 200 <= answer.status < 300 else _reason(answer.status, answer.body)


def _reason(status: int, body: bytes) -> str:
    try:
        said = msgspec.json.decode(body, type=_Refusal).error.message
    except DECODE_ERRORS:
        return f"status {status}"
    return f"status {status}: {said}"[:_MAX_REASON]
