"""Takes a prefill worker's answer in the client's place: whole, and bounded."""

from __future__ import annotations

from abc import ABC, abstractmethod

MOST = 16 * 1024 * 1024
"""Bytes. One token's answer has a few hundred, more only with much asked about the prompt."""


class Collector(ABC):
    """A `Taker`."""

    __slots__ = ("_parts", "_size", "headers", "method", "started", "status")

    def __init__(self, method: str) -> None:
        self.method = method
        self.started = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._size = 0

    @abstractmethod
    def too_large(self) -> None:
        """Know that the answer is larger than `MOST`; nothing more may come."""

    @property
    def body(self) -> bytes:
        """What came so far."""
        return b"".join(self._parts)

    def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin the answer."""
        self.started = True
        self.status = status
        self.headers = headers

    def send(self, data: bytes) -> None:
        """Take a part."""
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST:
            self._parts.clear()
            self.too_large()

    def finish(self, last: bytes = b"") -> None:
        """Take the last part."""
        self.send(last)

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Take a whole answer, which is small."""
        self.start(status, headers)
        self._parts.append(body)

    def unwatch(self) -> None:  # noqa: B027 - nobody is watched here
        """Know that the last part comes."""
