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

PREFILL_ORDER = (
    '{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,'
    '"remote_host":null,"remote_port":null}'
)


_NULL = msgspec.Raw(b"null")


class _Answer(msgspec.Struct, frozen=True):
    kv_transfer_params: msgspec.Raw = _NULL


class _Told(msgspec.Struct, frozen=True):
    """What is looked at of it. The blocks of a long prompt are many, so they are not made into objects."""

    do_remote_prefill: bool = False
    transfer_mode: str | None = "pull"
    remote_block_ids: msgspec.Raw = _NULL
    remote_engine_id: msgspec.Raw = _NULL
    remote_request_id: msgspec.Raw = _NULL
    remote_host: msgspec.Raw = _NULL
    remote_port: msgspec.Raw = _NULL


_read_answer = msgspec.json.Decoder(_Answer).decode
_read_told = msgspec.json.Decoder(_Told).decode


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
            raw = _read_answer(answer).kv_transfer_params
            told = _read_told(raw)
        except DECODE_ERRORS:
            return None
        if not told.do_remote_prefill or told.transfer_mode != "pull":
            return None
        needed = (
            told.remote_block_ids, told.remote_engine_id, told.remote_request_id, told.remote_host, told.remote_port
        )  # fmt: skip
        return None if _NULL in needed else bytes(raw)

    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        """Return the client's body with the handoff as its first member."""
        return Ask(first_member(pairing.body, "kv_transfer_params", handoff))
