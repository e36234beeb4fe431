"""One attempt: a request on one connection, its answer passed on to the client as it arrives.

Everything here runs inside the upstream connection's callbacks, so a chunk goes from the worker's socket to
granian's queue without waking a task. When the queue is full the worker's connection is paused until there
is room: what a stalled client can make us hold is that queue plus one read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from dataplane.client import Headers
from dataplane.first_event import PREFIXES as EARLY_ERRORS
from dataplane.first_event import EarlyError, early_error
from dataplane.leg import Taker
from dataplane.preamble import Preamble
from dataplane.retry import AT_ONCE, Outcome
from dataplane.server import FutureLike
from dataplane.timeouts import Phase, Place
from dataplane.upstream.connection import UpstreamConnection
from dataplane.usage import TAIL

# An answer of known length up to this size is sent to the client in one piece when it is complete.
_WHOLE_ANSWER = 64 * 1024
_LAST_EVENT = b"data: [DONE]\n\n"
_EVENT = (b"data:", b"event:", b":")


class Exchange:
    """Takes the answer (it is the connection's ResponseSink).

    Calls `begins` with the answer's status and headers before anything goes to the client: False means that the
    answer is not wanted, and the exchange was abandoned. Calls `ended` once with the outcome, unless abandoned.
    """

    __slots__ = (
        "_before",
        "_begins",
        "_client",
        "_connection",
        "_ended",
        "_last",
        "_last_at",
        "_loop",
        "_over",
        "_pending",
        "_request_id",
        "_time",
        "_waiting",
        "_whole",
        "first_byte_at",
        "headers",
        "holds_preamble",
        "is_stream",
        "longest_pause",
        "on_first_part",
        "parts",
        "reason",
        "reused",
        "sent_at",
        "status",
    )

    def __init__(
        self,
        client: Taker,
        request_id: bytes,
        loop: asyncio.AbstractEventLoop,
        begins: Callable[[int, Headers], bool],
        ended: Callable[[Outcome], None],
    ) -> None:
        self._begins = begins
        self._client = client
        self._request_id = request_id
        self._loop = loop
        self._time = loop.time
        self._ended = ended
        self.reused = False
        self.parts = 0
        self.status = 0
        self.headers: Headers = []
        self.reason = ""
        self.first_byte_at = 0.0
        self.sent_at = 0.0
        self.is_stream = False
        self.longest_pause = 0.0
        self.on_first_part: Callable[[], None] | None = None
        """Is called when the answer's body begins, and for one that is passed on whole, when it is there."""
        self.holds_preamble = False
        """Whether an error that comes before anything of an answer is to be told from one within it."""
        self._connection: UpstreamConnection | None = None
        self._whole: list[bytes] | None = None
        self._pending: deque[bytes] | None = None
        self._waiting = False
        self._over = False
        self._last_at = 0.0
        self._before = self._last = b""

    def send(self, connection: UpstreamConnection, head: bytes, body: bytes | bytearray) -> None:
        """Send the request on `connection`, which is ours until the outcome or `abandon`."""
        self._connection = connection
        self.sent_at = self._loop.time()
        self.reused = connection.used
        if connection.closed:
            # Lost between its making and this call: nobody else will tell us.
            self.on_broken("did not begin: the connection was closed")
            return
        sink = Preamble(self) if self.holds_preamble else self
        connection.send(head, body, sink, bodiless_answer=self._client.method == "HEAD")

    def abandon(self) -> None:
        """Send nothing more, and close the connection if it is still ours: the worker stops its work."""
        connection, self._connection = self._connection, None
        self._pending = None
        if connection is not None and not self._over:
            self._over = True
            connection.abort()

    def let_finish(self) -> bool:
        """Leave the connection to itself if the answer's last event has gone to the client; whether it has.

        Clients of streams stop reading at `[DONE]` and may leave before the last chunk, which is empty.
        """
        connection = self._connection
        if not self._has_last_event or self._waiting or connection is None:
            return False
        self._connection = None
        if not self._over:
            connection.finish_alone(self._loop)
        self._client.finish()
        return True

    @property
    def _has_last_event(self) -> bool:
        return self._last.endswith(_LAST_EVENT)

    @property
    def gaps(self) -> int:
        """How many pauses there were between events of a stream; the one before `[DONE]` is none."""
        return self.parts - 1 - self._has_last_event

    @property
    def seconds_streamed(self) -> float:
        """From the first part to the last."""
        return self._last_at - self.first_byte_at

    @property
    def tail(self) -> tuple[bytes, bytes]:
        """The last two parts of the body, as far as `dataplane.usage` looks at them."""
        if self._whole is None:
            return self._before, self._last
        return (b"", self._whole[-1]) if len(self._whole) == 1 else (b"", b"".join(self._whole))

    @property
    def first_byte(self) -> float | None:
        """Seconds from sending the request to the first byte of the answer's body; None if it came all at once."""
        return None if self._whole is not None else self.first_byte_at - self.sent_at

    def place(self) -> Place:
        """Where the attempt is."""
        if self._waiting:
            return Place(Phase.BLOCKED, self.parts)
        return Place(Phase.ANSWERING if self.parts else Phase.WAITING, self.parts)

    # --- ResponseSink ----------------------------------------------------------------------------------

    def on_head(self, status: int, headers: Headers, length: int | None) -> None:
        """Keep the head; it goes to the client with the first part of the body, so that a break before can be told."""
        if not self._begins(status, headers):
            return
        self.first_byte_at = self._loop.time()
        self.status = status
        headers.append((b"x-request-id", self._request_id))
        self.headers = headers
        if length is not None and length <= _WHOLE_ANSWER:
            self._whole = []

    def on_body(self, data: bytes) -> None:
        """Pass a part on."""
        self.parts += 1
        if self._whole is not None:
            if self.parts == 1:
                self.first_byte_at = self._time()
            self._whole.append(data)
            return
        # Called where it is looked up, an attribute costs twice as much.
        time = self._time
        now = time()
        self._before = self._last
        self._last = data if len(data) <= TAIL else data[-TAIL:]
        if self.parts > 1:
            if now - self._last_at > self.longest_pause:
                self.longest_pause = now - self._last_at
        else:
            # vLLM sends a stream's head before it has begun to work on it.
            self.first_byte_at = now
            self.is_stream = data.startswith(_EVENT)
            if data.startswith(EARLY_ERRORS) and (error := early_error(data)) is not None:
                self._fail_early(error)
                return
            self._client.start(self.status, self.headers)
            if self.on_first_part is not None:
                self.on_first_part()
        self._last_at = now
        if self._waiting:
            if self._pending is None:
                self._pending = deque()
            self._pending.append(data)
        elif (operation := self._client.send(data)) is not None:
            self._wait_for(operation)

    def _fail_early(self, error: EarlyError) -> None:
        """Take a stream that begins with an error for an answer with that status."""
        if not self._begins(error.status, self.headers):
            return
        self.status = error.status
        headers = [field for field in self.headers if field[0] not in (b"content-type", b"content-length")]
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(error.body))]
        self._client.answer(error.status, headers, error.body)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish_alone(self._loop)
        self._ended(Outcome.COMPLETE)

    def on_complete(self) -> None:
        """End the client's answer."""
        self._over = True
        if not self._client.started:
            if self.on_first_part is not None:
                self.on_first_part()
            parts = self._whole or []
            self._client.answer(self.status, self.headers, parts[0] if len(parts) == 1 else b"".join(parts))
            self._ended(Outcome.COMPLETE)
        elif not self._waiting:
            self._end()

    def on_broken(self, reason: str) -> None:
        """Tell how far it had come."""
        self._over = True
        self.reason = reason
        if self._waiting:
            # What came before the break is the client's; `_room` ends it.
            return
        if self._client.started:
            self._ended(Outcome.TRUNCATED)
        elif self._connection is not None and self._connection.answering:
            self._ended(Outcome.BROKEN)
        else:
            held = self._loop.time() - self.sent_at
            self._ended(Outcome.HELD if held > AT_ONCE else Outcome.NOTHING_RECEIVED)

    # --- towards the client ----------------------------------------------------------------------------

    def _wait_for(self, operation: FutureLike) -> None:
        self._waiting = True
        if self._connection is not None and not self._over:
            self._connection.pause()
        operation.add_done_callback(self._room)

    def _room(self, operation: FutureLike) -> None:
        self._waiting = False
        if self._connection is None:
            return
        pending = self._pending
        while pending and not self._waiting:
            if (next_one := self._client.send(pending.popleft())) is not None:
                self._wait_for(next_one)
        if self._waiting:
            return
        if not self._over:
            self._connection.resume()
        elif self.reason:
            self._ended(Outcome.TRUNCATED)
        else:
            self._end()

    def _end(self) -> None:
        self._client.unwatch()
        self._client.finish()
        self._ended(Outcome.COMPLETE)
