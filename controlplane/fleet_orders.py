"""What clients of planes want of the fleet, through vllm-router's endpoints on the main port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from controlplane.membership import Membership, MembershipError
from shared.messages import FleetVerb
from shared.worker_attributes import WorkerAttributes

if TYPE_CHECKING:
    from controlplane.cache_flush import Flushed


async def obey(
    membership: Membership,
    flush_caches: Callable[[], Awaitable[Flushed]],
    verb: FleetVerb,
    url: str,
    said: WorkerAttributes,
) -> tuple[str, str]:
    """Do it; return a code for programs, which is empty when it was done, and a message."""
    try:
        match verb:
            case "add":
                await membership.add(url, said)
            case "remove":
                await membership.remove(url)
            case "flush-cache":
                failed = (await flush_caches()).failed
                return ("cache_flush_failed", f"{len(failed)} workers") if failed else ("", "")
    except MembershipError as error:
        return error.code, str(error)
    return "", ""
