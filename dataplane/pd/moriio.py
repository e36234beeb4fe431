"""vLLM's MoRIIOConnector (0.14 or later, AMD): the workers find each other by both addresses in the request's id.

- Addresses and mode come by the workers' registrations, or from their operator: `host:IP,handshake:PORT,notify:PORT`.
  Both workers have the same mode.
- READ: the decode worker reads what the prefill's answer names, so it is asked after that; without `remote_block_ids`
  it would take its empty blocks for filled, and say something wrong with status 200.
- The prefill worker hands over, and tells in either mode what, only if it ended by its length.
- WRITE: the prefill worker writes, and both are asked at once.
- The id is `___prefill_addr_{P}___decode_addr_{D}_{32 hex digits}` on both legs. An engine ends by an order without
  `transfer_id`, and by an id without addresses.
- A decode worker takes every request for one whose KV cache comes, so it can not do a whole request (vLLM's sources).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from dataplane.pd.connector import Ask, Connector, Order, Pairing, Peer, first_member, one_token
from dataplane.pd.params import CUT, STOPS, handed_over
from dataplane.pd.picked_rank import picked_rank, rank_field
from shared.transfer_attributes import ADDRESSES

REQUIRED = ("remote_engine_id", "remote_block_ids", "transfer_id")
_is_address = re.compile(ADDRESSES["moriio"]).fullmatch


class Moriio(Connector):
    """MoRIIOConnector, in the mode that the prefill worker has told."""

    name = "moriio"
    serves_whole = False

    def order(self, prefill: Peer) -> Order:
        """READ: one after the other; WRITE: at once. The prefill worker must know the decode worker either way."""
        return Order.PAIR_FIRST if prefill.transfer.mode == "read" else Order.TOGETHER

    def misfit(self, prefill: Peer, decode: Peer) -> str | None:
        """Return why they can not find each other."""
        for peer in (prefill, decode):
            if not _is_address(peer.transfer.address):
                return f"{peer.id} has not told its address (host:IP,handshake:PORT,notify:PORT)"
            if peer.transfer.mode is None:
                return f"{peer.id} has not told whether it reads or writes"
        if prefill.transfer.mode != decode.transfer.mode:
            return f"{prefill.id} has mode {prefill.transfer.mode}, {decode.id} has {decode.transfer.mode}"
        return super().misfit(prefill, decode)

    def prefill(self, pairing: Pairing) -> Ask:
        """Return the body with the transfer id and where the KV cache is to go."""
        order = msgspec.json.encode(_order(pairing, is_prefill=True)).decode()
        body = one_token(pairing.path, pairing.body, {"kv_transfer_params": order, **CUT}, without=STOPS)
        return Ask(body, _fields(pairing, pairing.prefill))

    def handoff(self, answer: bytes) -> bytes | None:
        """Return what is to be read (or is written); None when a key that the decode worker needs is missing."""
        told = handed_over(answer, REQUIRED)
        return msgspec.json.encode(told) if told is not None and told["remote_block_ids"] else None

    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        """Return the client's body with what is to be read, or what will be written."""
        order = _order(pairing, is_prefill=False)
        if pairing.prefill.transfer.mode == "read":
            told: dict[str, Any] = msgspec.json.decode(handoff)
            order = {**told, "remote_dp_size": order["remote_dp_size"], "remote_dp_rank": order["remote_dp_rank"]}
        body = first_member(pairing.body, "kv_transfer_params", msgspec.json.encode(order))
        return Ask(body, _fields(pairing, _decode_of(pairing)))


def _decode_of(pairing: Pairing) -> Peer:
    if pairing.decode is None:
        raise RuntimeError("the decode worker is chosen first, with either order")
    return pairing.decode


def _order(pairing: Pairing, *, is_prefill: bool) -> dict[str, Any]:
    other = _decode_of(pairing) if is_prefill else pairing.prefill
    return {
        "do_remote_decode": is_prefill,
        "do_remote_prefill": not is_prefill,
        "remote_engine_id": None,
        "remote_block_ids": None,
        "transfer_id": f"tx-{pairing.key}",
        "remote_dp_size": other.transfer.dp_size or 1,
        "remote_tp_size": other.transfer.tp_size or 1,
        "remote_dp_rank": _rank(other, pairing),
    }


def _rank(peer: Peer, pairing: Pairing) -> int:
    return picked_rank(peer, pairing.key, range(peer.transfer.dp_size or 1))


def _fields(pairing: Pairing, peer: Peer) -> tuple[tuple[bytes, bytes], ...]:
    sender, receiver = pairing.prefill.transfer.address, _decode_of(pairing).transfer.address
    label = f"___prefill_addr_{sender}___decode_addr_{receiver}_{pairing.key}"
    has_ranks = peer.rank is None and (peer.transfer.dp_size or 1) > 1
    return ((b"x-request-id", label.encode()), *(rank_field(peer, _rank(peer, pairing)) if has_ranks else ()))
