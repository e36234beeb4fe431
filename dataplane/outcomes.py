"""What became of a plane's requests at one life of one worker, as plain sums: what outlier ejection goes by."""

from __future__ import annotations

from shared.plane_report import WorkerOutcomes


class Outcomes:
    """Sums since the plane first knew of this life.

    `answers` are answers begun, whatever they say: signs of life. A request counts as `succeeded` when its answer of
    a status below 400 has come whole, and as `failed` as it does for the breaker. A 4xx is the client's, and one whose
    client has left says nothing, so neither is in one of the two.
    `streams` of those that succeeded came piece by piece, and waited `first_byte_seconds` in all for the first one.
    Other answers begin when they are complete, so their first byte tells how long they are and nothing else.
    """

    __slots__ = ("answers", "failed", "first_byte_seconds", "streams", "succeeded")

    def __init__(self) -> None:
        self.answers = 0
        self.succeeded = 0
        self.failed = 0
        self.streams = 0
        self.first_byte_seconds = 0.0

    def complete(self, status: int, first_byte: float | None) -> None:
        """Count an answer that came whole; `first_byte` is in seconds since it was asked for, None if not streamed."""
        if status >= 400:
            return
        self.succeeded += 1
        if first_byte is not None:
            self.streams += 1
            self.first_byte_seconds += first_byte

    def told(self, epoch: int) -> WorkerOutcomes | None:
        """Return the sums in the shape of the wire; None while there is nothing to tell."""
        if not self.answers and not self.failed:
            return None
        return WorkerOutcomes(epoch, self.answers, self.succeeded, self.failed, self.streams, self.first_byte_seconds)
