"""What a way of moving KV cache asks of the router: pure steps, no socket and no clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from dataplane.splice import with_members

_OUTPUT_LIMIT = {"/v1/responses": "max_output_tokens"}
_NOT_FOR_PREFILL = ("stream_options", "min_tokens", "min_completion_tokens")
"""vLLM answers 400 to the first one without a stream, and to the others when they are above one token."""


class Connector(ABC):
    """One way. The prefill worker is asked first and its whole answer read, then a decode worker is asked."""

    name: ClassVar[str]
    hands_over: ClassVar[bool]
    """Whether the prefill worker's answer has something for the decode worker, which serves once."""

    @abstractmethod
    def prefill_body(self, path: str, body: bytes | bytearray) -> bytes:
        """Return what the prefill worker is asked, made of the client's body. Raises ValueError, RecursionError."""

    @abstractmethod
    def handoff(self, answer: bytes) -> bytes | None:
        """Return what the prefill worker hands over, as JSON; None for nothing, or nothing that can be used."""

    @abstractmethod
    def decode_body(self, body: bytes | bytearray, handoff: bytes) -> bytes:
        """Return what the decode worker is asked, made of the client's body."""


def one_token(path: str, body: bytes | bytearray, members: Mapping[str, str] = {}) -> bytes:
    """Return a body that asks for one token, not streamed, with further `members` (JSON texts).

    Raises ValueError (RecursionError for deep nesting) when the body is no JSON object.
    """
    values = {"stream": "false", _OUTPUT_LIMIT.get(path, "max_tokens"): "1", **members}
    return with_members(body, values, where_present={"max_completion_tokens": "1"}, without=_NOT_FOR_PREFILL)
