"""NixlPushConnector: the decode worker registers with the prefill worker, which then writes the blocks there.

The two find each other by the request's name without the engine's own digits at its end, so both legs need the same
`X-Request-Id` and the same endpoint. Who registers for something that does not come waits.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .base import Leg, require, without_suffix
from .handoffs import fits, taken
from .nixl import Nixl


class NixlPush(Nixl):
    """Both roles. The answer of a prefill is as with pull, but for its `transfer_mode`."""

    name: ClassVar[str] = "nixl_push"
    mode: ClassVar[str] = "push"

    def check(self, order: dict[str, Any]) -> None:
        """Raise EngineDeadError for an order that is not complete; blocks need not be named."""
        require(order, "remote_engine_id", "remote_request_id", "remote_host", "remote_port")

    async def take(self, leg: Leg) -> int | None:
        """Register, and wait."""
        order = leg.order
        return await taken(
            self.worker, order["remote_host"], order["remote_port"], without_suffix(leg.request_id),
            engine=str(order["remote_engine_id"]), fits=fits(self.worker), wait=self.config.kv_wait_seconds,
        )  # fmt: skip

    def kept_as(self, leg: Leg) -> str:
        """Return the name that both engines know."""
        return without_suffix(leg.request_id)
