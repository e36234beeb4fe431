"""Failures of requests, in the log: a line each, with the request's id, but never a flood of them."""

from __future__ import annotations

import logging
import os
import socket
import ssl

from dataplane.retry import Outcome
from dataplane.token_bucket import TokenBucket
from shared.messages import EvidenceKind
from shared.tls import TlsFileError, explain

logger = logging.getLogger("dataplane.failures")

SAID = {
    Outcome.CONNECT_FAILED: "no connection",
    Outcome.NOTHING_RECEIVED: "closed the connection without an answer",
    Outcome.HELD: "took the request and closed the connection without an answer",
    Outcome.BROKEN: "the answer broke off before the client got any of it",
    Outcome.TRUNCATED: "the answer broke off in the middle",
}
LINES_PER_SECOND = 10.0
"""Enough to see what goes on; an outage at 10,000 requests per second must not fill the disk as well."""


def why_no_connection(error: BaseException | None) -> str:
    """Return the cause in words."""
    if isinstance(error, ssl.SSLError):
        return explain(error)
    if isinstance(error, TlsFileError):
        return f"TLS failed: {error}"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


def no_connection(error: BaseException | None) -> tuple[str, EvidenceKind]:
    """Return the cause in words, and what it is evidence of."""
    if not isinstance(error, OSError):
        logger.error("connecting to a worker failed unexpectedly", exc_info=error)
    return why_no_connection(error), "no-address" if isinstance(error, socket.gaierror) else "connect-failed"


class FailureLog:
    """A bucket of lines; what does not fit is counted and told with the next line that does."""

    def __init__(self, now: float) -> None:
        """Begin with a full bucket; times are in seconds on any one clock."""
        self._lines = TokenBucket(now, tokens=LINES_PER_SECOND, per_second=LINES_PER_SECOND, most=LINES_PER_SECOND)
        self._left_out = 0

    def tell(self, now: float, level: int, request_id: bytes, worker: str, what: str) -> None:
        """Log one failure. `what` is a short text without anything that a client sent."""
        if not self._lines.has_token(now):
            self._left_out += 1
            return
        self._lines.take()
        left_out, self._left_out = self._left_out, 0
        more = f" ({left_out} such lines left out)" if left_out else ""
        # A client chooses its id: it must not be able to write lines of its own.
        shown = request_id.decode("latin-1")[:100].encode("ascii", "backslashreplace").decode()
        logger.log(level, "request %s: worker %s: %s%s", shown, worker or "-", what, more)
