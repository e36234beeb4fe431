"""vLLM's ExampleConnector: KV cache on a shared disk, found by the prompt's tokens, so nothing is handed over."""

from __future__ import annotations

from dataplane.pd.connector import Ask, Connector, Order, Pairing, Peer, one_token


class Example(Connector):
    """ExampleConnector (formerly SharedStorageConnector)."""

    name = "example"
    serves_once = False

    def order(self, prefill: Peer) -> Order:
        """The files must be there before they are looked for."""
        return Order.PREFILL_FIRST

    def prefill(self, pairing: Pairing) -> Ask:
        """Return the body for one token: computing the prompt writes its KV cache."""
        return Ask(one_token(pairing.path, pairing.body))

    def handoff(self, answer: bytes) -> bytes | None:
        """Return nothing, which is all that is needed."""
        return b""

    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        """Return the client's body."""
        return Ask(pairing.body)
