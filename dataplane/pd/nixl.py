"""vLLM's NixlConnector (pull): the prefill worker tells where the KV cache is, and the decode worker fetches it.

What it tells is passed on as it stands, since its keys change from version to version. A decode worker's engine ends
when one that it needs is missing (seen on 0.32), so these are looked for. `remote_request_id` is there since 0.14.
Where `transfer_mode` (0.28+) says that the worker pushes, nothing is fetched: that is `nixl_push`.
The two shake hands on a hash that has the server's version and the `--model` text in it.
"""

from __future__ import annotations

import msgspec

from dataplane.pd.connector import (
    Ask,
    Connector,
    Order,
    Pairing,
    Peer,
    first_member,
    one_token,
    other_models,
    other_version,
)
from shared.decoding import DECODE_ERRORS

REQUIRED = (
    "do_remote_prefill", "remote_block_ids", "remote_engine_id", "remote_request_id", "remote_host", "remote_port",
)  # fmt: skip
PREFILL_ORDER = (
    '{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,'
    '"remote_host":null,"remote_port":null}'
)


class _Answer(msgspec.Struct, frozen=True):
    kv_transfer_params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Nixl(Connector):
    """NixlConnector."""

    name = "nixl"

    def order(self, prefill: Peer) -> Order:
        """The decode worker fetches from whom the answer names."""
        return Order.PREFILL_FIRST

    def misfit(self, prefill: Peer, decode: Peer) -> str | None:
        """Return why they would not shake hands."""
        return super().misfit(prefill, decode) or other_version(prefill, decode) or other_models(prefill, decode)

    def prefill(self, pairing: Pairing) -> Ask:
        """Return the body with the order to keep the KV cache for somebody."""
        return Ask(one_token(pairing.path, pairing.body, {"kv_transfer_params": PREFILL_ORDER}))

    def handoff(self, answer: bytes) -> bytes | None:
        """Return `kv_transfer_params`; None also when a key that the decode worker needs is missing or null."""
        try:
            raw = msgspec.json.decode(answer, type=_Answer).kv_transfer_params
            told = msgspec.json.decode(raw) if isinstance(raw, msgspec.Raw) else None
        except DECODE_ERRORS:
            return None
        if not isinstance(told, dict) or told.get("do_remote_prefill") is not True:
            return None
        if told.get("transfer_mode", "pull") != "pull":
            return None
        return bytes(raw) if all(told.get(key) is not None for key in REQUIRED) else None  # type: ignore[arg-type]

    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        """Return the client's body with the handoff as its first member."""
        return Ask(first_member(pairing.body, "kv_transfer_params", handoff))
