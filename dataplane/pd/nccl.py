"""vLLM's P2pNcclConnector (0.9.2 to 0.23): the prefill worker sends KV cache to whom the request's id names.

Both legs have one id with both addresses, and what is sent has that id in its name, so each pairing needs another
one. A worker's engine fails at a request whose id has no address in it, and a decode worker waits without end for what
does not come: it may only be asked when the prefill is there, and only for requests that were prefilled.

From 0.14 on vLLM adds something random to ids, and the two sides never meet. It works again from 0.17 on, where
VLLM_DISABLE_REQUEST_ID_RANDOMIZATION=1 is set on all workers.
"""

from __future__ import annotations

from dataplane.pd.connector import Ask, Connector, Order, Pairing, Peer, has_address, one_token, other_models


class Nccl(Connector):
    """P2pNcclConnector."""

    name = "nccl"
    serves_whole = False
    takes_several = True

    def order(self, prefill: Peer) -> Order:
        """The prefill worker must know whom to send to."""
        return Order.PAIR_FIRST

    def misfit(self, prefill: Peer, decode: Peer) -> str | None:
        """Return why one would not reach the other, or not understand it: ranks are matched one by one."""
        for peer in (prefill, decode):
            if not has_address(peer):
                return f"{peer.id} has not told its address for KV transfers (it does in its pings)"
        sizes = (prefill.transfer.tp_size, decode.transfer.tp_size)
        if None not in sizes and sizes[0] != sizes[1]:
            return f"{prefill.id} has {sizes[0]} tensor-parallel ranks, {decode.id} has {sizes[1]}"
        return super().misfit(prefill, decode) or other_models(prefill, decode)

    def prefill(self, pairing: Pairing) -> Ask:
        """Return the body for one token, with the id."""
        return Ask(one_token(pairing.path, pairing.body), _labelled(pairing))

    def handoff(self, answer: bytes) -> bytes | None:
        """Return nothing: what is handed over has gone to the decode worker."""
        return b""

    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        """Return the client's body, with the same id."""
        return Ask(pairing.body, _labelled(pairing))


def _labelled(pairing: Pairing) -> tuple[tuple[bytes, bytes], ...]:
    prefill, decode = pairing.prefill, pairing.decode
    assert decode is not None  # noqa: S101 - chosen before, by the order
    label = f"___prefill_addr_{prefill.transfer.address}___decode_addr_{decode.transfer.address}_{pairing.key}"
    return ((b"x-request-id", label.encode()),)
