"""Who takes a worker's answer."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


class ResponseSink(Protocol):
    """What a connection tells of the answer to the request that was sent on it, in this order."""

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> None:
        """Take status, headers and the body's length (None: not told, it comes in chunks).

        The headers are those that go on to the client: without hop-by-hop ones, and without a request id.
        """

    def on_body(self, data: bytes) -> None:
        """Take the next part of the body: a whole chunk, or what arrived of a body that is not chunked."""

    def on_complete(self) -> None:
        """Know that the answer is complete; the connection is no longer the sink's."""

    def on_broken(self, reason: str) -> None:
        """Know that the answer will not be completed; `reason` ends the sentence "the worker's answer ..."."""


@runtime_checkable
class SwitchingSink(ResponseSink, Protocol):
    """One that asked for another protocol."""

    def on_switched(self, headers: list[tuple[bytes, bytes]]) -> Any:
        """Know that the worker agreed; return what takes the bytes from now on (`feed_data`).

        The connection is the sink's until it ends, by `on_broken` or by the sink itself.
        """


class Parser(Protocol):
    """What a connection's bytes go to."""

    def feed_data(self, data: bytes | memoryview) -> None:
        """Take bytes; they are somebody else's after the call."""

    def get_status_code(self) -> int:
        """The answer's status."""
        ...

    def get_http_version(self) -> str:
        """The answer's version, as `1.1`."""
        ...

    def should_keep_alive(self) -> bool:
        """Whether the connection may be used again."""
        ...


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
