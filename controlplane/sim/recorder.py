"""The last requests a worker received, byte for byte, and how each of them ended."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from hashlib import sha256
from typing import Any

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""Bodies kept by one worker together; older ones go first, so that recording never fills the memory."""


class Record:
    """One request; `body` is None while it is being received, and once it was dropped for its size."""

    __slots__ = ("body", "digest", "headers", "method", "outcome", "size", "status", "target")

    def __init__(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body: bytes | None = None
        self.size = 0
        self.digest: str | None = None
        self.status: int | None = None
        self.outcome = "active"
        """`active`, `finished`, `aborted` (by the client) or `killed` (by a fault)."""

    def drop_body(self) -> None:
        """Keep only size and digest of the body."""
        if self.body is not None:
            self.digest = sha256(self.body).hexdigest()
            self.body = None


class Recorder:
    """Counters since the start, and a bounded list of records."""

    def __init__(self, keep: int) -> None:
        self.received = 0
        self.finished = 0
        self.aborted = 0
        self.killed = 0
        self._keep = keep
        self._records: deque[Record] = deque()
        self._bytes = 0

    @property
    def active(self) -> int:
        """Requests received and not ended."""
        return self.received - self.finished - self.aborted - self.killed

    def begin(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> Record:
        """Count and keep a request whose head has come."""
        self.received += 1
        record = Record(method, target, headers)
        if self._keep:
            self._records.append(record)
            if len(self._records) > self._keep:
                self._forget(self._records.popleft())
        return record

    def complete(self, record: Record, body: bytes) -> None:
        """Keep the body of a request that has come to its end."""
        record.size = len(body)
        if not self._keep:
            return
        record.body = body
        self._bytes += len(body)
        if self._bytes > MAX_KEPT_BYTES:
            for old in self._records:
                self._forget(old)
                if self._bytes <= MAX_KEPT_BYTES:
                    break

    def end(self, record: Record, outcome: str) -> None:
        """Count the end of a request, once."""
        if record.outcome != "active":
            return
        record.outcome = outcome
        if outcome == "finished":
            self.finished += 1
        elif outcome == "aborted":
            self.aborted += 1
        else:
            self.killed += 1

    def clear(self) -> None:
        """Forget the records; the counters go on from the requests still active."""
        still = self.active
        self._records.clear()
        self._bytes = 0
        self.received, self.finished, self.aborted, self.killed = still, 0, 0, 0

    def describe(self) -> dict[str, Any]:
        """Return the counters and the records, oldest first, ready for JSON."""
        return {
            "received": self.received,
            "finished": self.finished,
            "aborted": self.aborted,
            "killed": self.killed,
            "active": self.active,
            "requests": [_describe(record) for record in self._records],
        }

    def _forget(self, record: Record) -> None:
        if record.body is not None:
            self._bytes -= len(record.body)
            record.drop_body()


def _describe(record: Record) -> dict[str, Any]:
    body = record.body
    return {
        "method": record.method.decode("latin-1"),
        "target": record.target.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in record.headers],
        "body": None if body is None else b64encode(body).decode(),
        "body_length": record.size,
        "sha256": record.digest if body is None else sha256(body).hexdigest(),
        "status": record.status,
        "outcome": record.outcome,
        "aborted": record.outcome == "aborted",
    }
