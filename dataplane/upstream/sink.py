"""Who takes a worker's answer."""

from __future__ import annotations

from typing import Protocol


class ResponseSink(Protocol):
    """What a connection tells of the answer to the request that was sent on it, in this order."""

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> None:
        """Take status, end-to-end headers and the body's length (None: not told, it comes in chunks)."""

    def on_body(self, data: bytes) -> None:
        """Take the next part of the body: a whole chunk, or what arrived of a body that is not chunked."""

    def on_complete(self) -> None:
        """Know that the answer is complete; the connection is no longer the sink's."""

    def on_broken(self, reason: str) -> None:
        """Know that the answer will not be completed; `reason` ends the sentence "the worker's answer ..."."""


class Nobody:
    """Takes what nobody wants."""

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> None:
        """Pass over it."""

    def on_body(self, data: bytes) -> None:
        """Pass over it."""

    def on_complete(self) -> None:
        """Pass over it."""

    def on_broken(self, reason: str) -> None:
        """Pass over it."""
