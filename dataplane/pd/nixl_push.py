"""vLLM's NixlPushConnector: the decode worker registers with the prefill worker, which writes the KV cache there.

- Push and pull never shake hands with each other, so this has a name of its own: a fleet is one or the other. An answer
  whose `transfer_mode` (0.28+) is not push is not used.
- The prefill worker knows the decode worker by the request's id, without the eight digits that each engine puts behind
  it: both legs have the same `X-Request-Id`, which is the router's own, and the same endpoint.
- The decode worker must not be told blocks; the keys that it needs are looked for, as its engine ends without them.
- `remote_request_id` is there since 0.14. Both have the same version and `--model`, as with pull.
"""

from __future__ import annotations

import msgspec

from dataplane.pd.connector import Ask, Order, Pairing, Peer, first_member, one_token
from dataplane.pd.nixl import PREFILL_ORDER, Nixl
from dataplane.pd.params import handed_over

REQUIRED = ("remote_engine_id", "remote_request_id", "remote_host", "remote_port")
_PASSED_ON = (*REQUIRED, "tp_size")


class NixlPush(Nixl):
    """NixlPushConnector."""

    name = "nixl_push"

    def order(self, prefill: Peer) -> Order:
        """The decode worker registers with whom the answer names."""
        return Order.PREFILL_FIRST

    def prefill(self, pairing: Pairing) -> Ask:
        """Return the body with the order to keep the KV cache, under an id that both legs have."""
        body = one_token(pairing.path, pairing.body, {"kv_transfer_params": PREFILL_ORDER})
        return Ask(body, _fields(pairing))

    def handoff(self, answer: bytes) -> bytes | None:
        """Return the order for the decode worker; None also when a key that it needs is missing or null."""
        told = handed_over(answer, REQUIRED)
        if told is None or told.get("transfer_mode", "push") != "push":
            return None
        passed_on = {key: told[key] for key in _PASSED_ON if key in told}
        return msgspec.json.encode({"do_remote_prefill": True, "do_remote_decode": False, **passed_on})

    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        """Return the client's body with the order as its first member."""
        return Ask(first_member(pairing.body, "kv_transfer_params", handoff), _fields(pairing))


def _fields(pairing: Pairing) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"x-request-id", pairing.key.encode()),)
