"""vLLM's ExampleConnector: KV cache on a shared disk, found by the prompt's tokens, so nothing is handed over."""

from __future__ import annotations

from dataplane.pd.connector import Connector, one_token


class Example(Connector):
    """ExampleConnector (formerly SharedStorageConnector)."""

    name = "example"
    hands_over = False

    def prefill_body(self, path: str, body: bytes | bytearray) -> bytes:
        """Return the body for one token: computing the prompt writes its KV cache."""
        return one_token(path, body)

    def handoff(self, answer: bytes) -> bytes | None:
        """Return nothing."""
        return None

    def decode_body(self, body: bytes | bytearray, handoff: bytes) -> bytes:
        """Return the client's body."""
        return bytes(body)
