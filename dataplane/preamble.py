"""What a stream says before there is anything of an answer, kept back until it is known that one comes.

A decode worker of vLLM 0.32 that could not fetch the KV cache was seen to answer a stream with status 200 and then

    /v1/completions         the error
    /v1/chat/completions    the assistant's role with an empty text, the error
    /v1/messages            `message_start`, the error
    /v1/responses           `response.created`, `response.in_progress`, the end of the connection

Where that is told from an answer that has begun, there can be another prefill instead. Answers come no later for it:
vLLM sends its role together with its first token.
"""

from __future__ import annotations

from dataplane.first_event import PREFIXES
from dataplane.upstream.sink import ResponseSink

_MOST = 4
"""Events. A worker that says nothing so often is not vLLM."""
_OPENINGS = (b"event: message_start\n", b"event: response.created\n", b"event: response.in_progress\n")
_ROLE = b'"delta":{"role":"assistant","content":""'


def is_preamble(part: bytes) -> bool:
    """Whether a part of a stream is one event that has nothing of an answer."""
    if part.startswith(_OPENINGS):
        return part.find(b"\n\n") == len(part) - 2
    return part.startswith(b"data: ") and _ROLE in part and part.find(b"\n\n") == len(part) - 2


class Preamble:
    """A `ResponseSink` before another one, which gets the preamble with what follows it, or an error alone."""

    __slots__ = ("_held", "_sink")

    def __init__(self, sink: ResponseSink) -> None:
        self._sink = sink
        self._held: list[bytes] | None = []

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> None:
        """Pass it on."""
        self._sink.on_head(status, headers, length)

    def on_body(self, data: bytes) -> None:
        """Keep it while it says nothing."""
        held = self._held
        if held is not None:
            if len(held) < _MOST and is_preamble(data):
                held.append(data)
                return
            if data.startswith(PREFIXES):
                held.clear()
            self._release()
        self._sink.on_body(data)

    def on_complete(self) -> None:
        """Pass on what was all."""
        self._release()
        self._sink.on_complete()

    def on_broken(self, reason: str) -> None:
        """Let the answer have broken off before it began."""
        self._sink.on_broken(reason)

    def _release(self) -> None:
        held, self._held = self._held, None
        for part in held or ():
            self._sink.on_body(part)
