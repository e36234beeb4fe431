"""What clients of planes want of the fleet, through vllm-router's endpoints on the main port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from controlplane.admin_adapters import OrderAdapters
from controlplane.membership import Membership, MembershipError
from shared.adapters import AdapterAnswer, AdapterOrder, AdapterReport, AdapterVerb
from shared.messages import FleetVerb
from shared.worker_attributes import WorkerAttributes

if TYPE_CHECKING:
    from controlplane.cache_flush import Flushed


async def obey(
    membership: Membership,
    flush_caches: Callable[[], Awaitable[Flushed]],
    order_adapters: OrderAdapters,
    verb: FleetVerb,
    url: str,
    said: WorkerAttributes,
) -> tuple[str, str]:
    """Do it; return a code for programs, which is empty when it was done, and a message.

    For an adapter `url` is the order, and the message what came of it, both in JSON.
    """
    try:
        match verb:
            case "add":
                await membership.add(url, said)
            case "remove":
                await membership.gone(await membership.remove(url))
            case "flush-cache":
                failed = (await flush_caches()).failed
                return (
                    ("cache_flush_failed", "1 worker" if len(failed) == 1 else f"{len(failed)} workers")
                    if failed
                    else ("", "")
                )
            case "load-adapter" | "unload-adapter":
                return "ordered", await _ordered(order_adapters, verb, url)
    except MembershipError as error:
        return error.code, str(error)
    return "", ""


async def _ordered(order_adapters: OrderAdapters, verb: AdapterVerb, order: str) -> str:
    ordered = await order_adapters(verb, msgspec.json.decode(order, type=AdapterOrder))
    answer = AdapterAnswer(report=ordered) if isinstance(ordered, AdapterReport) else AdapterAnswer(problem=ordered)
    return msgspec.json.encode(answer).decode()
