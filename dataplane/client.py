"""One client request as granian gives it: its body, its leaving, and the answer to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from dataplane.client_headers import Forwarded
from dataplane.client_keys import Holder
from dataplane.cors import with_own
from dataplane.lingering import Lingering
from dataplane.server import HAS_TO_WAIT, ASGIMessage, FutureLike, Scope, Transaction, waiting
from dataplane.upstream.head import one_cookie
from shared.errors import WORKER_HEADER, RouterError, bad_request, error_body, payload_too_large
from shared.routes import route_of

Headers = list[tuple[bytes, bytes]]

_ONE_HOST = "must have one Host field with one valid host"
_ONE_CODING = "has a transfer coding other than chunked, once"

_is_authority = lru_cache(256)(re.compile(rb"(?:[\w\-.~!$&'()*+,;=%]+|\[[\da-fA-F:.]+\])(?::\d*)?").fullmatch)
"""Host and port (RFC 3986 section 3.2), without the user that it must not have in a `Host` field."""


class Client:
    """Reads the request's body, watches for the client's leaving, and sends the answer.

    `is_last` has the connection closed after the answer. `key` is whose key it sent, where keys are asked for;
    `forwarded` is what a trusted proxy told of it; `added` are fields of the answer that are the router's to say.
    `limits` are fields about its key's limits, in the place of any of a worker's.
    `left` is called once, in the event loop, when the client has left while its body is read or while it is watched.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_declared",
        "_early",
        "_expected",
        "_left",
        "_limit",
        "_lingers",
        "_on_body",
        "_receive",
        "_send",
        "_size",
        "_transaction",
        "_unreadable",
        "_watch",
        "added",
        "fields",
        "forwarded",
        "headers",
        "is_last",
        "key",
        "limits",
        "method",
        "path",
        "route",
        "scope",
        "started",
    )

    is_socket = False
    """Whether a WebSocket is asked for."""

    def __init__(self, transaction: Transaction) -> None:
        scope = transaction.scope
        proto = transaction.proto
        self.scope: Scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.route = route_of(self.path)
        self.headers: Headers = scope["headers"]
        if scope.get("http_version") == "2":
            self.headers = one_cookie(self.headers)
        # Of a repeated field the last one counts; few fields are looked at, and those seldom repeated.
        self.fields = dict(self.headers)
        self.started = False
        self.is_last = False
        self.key: Holder | None = None
        self.forwarded: Forwarded | None = None
        self.added: Headers | None = None
        self.limits: Headers | None = None
        self._transaction = transaction
        self._receive: Callable[[], Any] = proto.receive
        self._send: Callable[[ASGIMessage], Any] = proto.send
        self._arrived: Callable[[Client], None] | None = None
        self._early: ASGIMessage | None = None
        self._watch: FutureLike | None = None
        self._left: Callable[[], None] | None = None
        self._on_body: Callable[[bytes | bytearray], None] | None = None
        self._body: bytes | bytearray = b""
        self._size = 0
        self._limit = 0
        self._declared: int | None = None
        self._lingers = False
        self._expected: int | None = None
        self._unreadable = False

    @property
    def peer(self) -> tuple[str, int] | None:
        """The client's address, where the connection carries this request alone (not over HTTP/2)."""
        address = self.scope.get("client")
        if address is None or self.scope.get("http_version", "") not in ("1", "1.0", "1.1"):
            return None
        return str(address[0]), int(address[1])

    @property
    def told_address(self) -> tuple[str, str] | None:
        """The address to show for the client: as a trusted proxy told it (its port is not known then), else its own."""
        return self.scope.get("client") if self.forwarded is None else (self.forwarded.client, "")

    @property
    def has_promised(self) -> bool:
        """Whether the answer has begun without telling the client that its connection ends with it."""
        return self.started and not self.is_last and self.scope.get("http_version") != "2"

    @property
    def is_unreadable(self) -> bool:
        """Whether the body was no valid HTTP, and will be answered 400 when the request is closed."""
        return self._unreadable and not self.started

    @property
    def received(self) -> int:
        """Bytes of the body that came so far."""
        return self._size

    # --- the request -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise RouterError 400 for what the server lets through although RFC 9112 has it refused.

        Another server on the way may have read such a request otherwise than ours did (request smuggling).
        """
        method = self.method
        path = self.scope["raw_path"]
        if method == "CONNECT":
            raise bad_request("asks for a tunnel")
        if path[:1] != b"/" and not (path == b"*" and method == "OPTIONS"):
            raise bad_request("has a target that is no path")
        fields = self.fields
        # The server makes an empty one where there was none, which only HTTP/1.1 forbids.
        host = fields.get(b"host", b"")
        if not _is_authority(host) and (host or self.scope.get("http_version") == "1.1"):
            raise bad_request(_ONE_HOST)
        # The server undoes the last coding only, and the field does not go on to the worker.
        coding = fields.get(b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            raise bad_request(_ONE_CODING)
        if len(fields) < len(self.headers):
            names = [name for name, _ in self.headers]
            if names.count(b"host") > 1:
                raise bad_request(_ONE_HOST)
            if names.count(b"transfer-encoding") > 1:
                raise bad_request(_ONE_CODING)

    def listen_early(self, arrived: Callable[[Client], None]) -> None:
        """Ask for the body before `read_body` does; `arrived` is called when its first part is there.

        May be called in another thread than the event loop's, before anybody else knows of this client.
        """
        self._arrived = arrived
        operation: FutureLike = self._receive()
        self._watch = operation
        operation.add_done_callback(self._heard_early)

    def _heard_early(self, operation: FutureLike) -> None:
        arrived, self._arrived = self._arrived, None
        if self._on_body is not None:
            self._heard(operation)
        elif operation is self._watch and arrived is not None:
            # The message, not the operation: that refers to us, and the garbage collector can not see into it.
            self._watch = None
            self._early = operation.result()
            arrived(self)

    def read_body(self, limit: int, on_body: Callable[[bytes | bytearray], None], left: Callable[[], None]) -> None:
        """Call `on_body` with the body: all of it, or its beginning once that is over `limit` bytes.

        Raises RouterError 413 at once when the declared length is over the limit. A body of known length ends
        with its last byte; the server's own "that was all" is left to `watch`, except in HTTP/2.
        """
        declared = self.fields.get(b"content-length")
        if declared is not None:
            self._declared = int(declared)
            if self._declared > limit:
                raise payload_too_large(limit)
            # In HTTP/2 more may follow, and only its end tells that the length was true.
            if self.scope.get("http_version") != "2":
                self._expected = self._declared
        self._limit = limit
        self._on_body = on_body
        self._left = left
        early, self._early = self._early, None
        if early is not None:
            self._take_in(early)
        elif self._watch is None:
            self._listen()

    def watch(self) -> None:
        """Call `left` as soon as the client has left."""
        if self._left is not None and self._watch is None:
            self._listen()

    def _listen(self) -> None:
        operation = waiting(self._receive())
        self._watch = operation
        if operation is None:
            self._leave()
        else:
            operation.add_done_callback(self._heard)

    def _heard(self, operation: FutureLike) -> None:
        if operation is not self._watch:
            return
        self._watch = None
        self._take_in(operation.result())

    def _take_in(self, message: ASGIMessage) -> None:
        if message["type"] != "http.request":
            if self._on_body is not None:
                self._note_whether_unreadable()
            self._leave()
            return
        on_body = self._on_body
        if on_body is None:
            self._listen()
            return
        if part := message["body"]:
            self._size += len(part)
            if not self._body:
                self._body = part
            elif isinstance(self._body, bytearray):
                self._body += part
            else:
                # Grows in place: joining parts at the end would hold all of a large body twice, and the loop up.
                self._body = bytearray(self._body)
                self._body += part
        if self._size <= self._limit and self._size != self._expected:
            if message["more_body"]:
                self._listen()
                return
            if self._declared is not None and self._size < self._declared:
                # HTTP/2's NO_ERROR in the middle of a body: proxies cancel so, and the server takes it for the end.
                self._leave()
                return
        self._on_body = None
        body, self._body = self._body, b""
        on_body(body)

    def _note_whether_unreadable(self) -> None:
        # A body that is not valid HTTP is reported as the client's leaving. Of one that has really left the
        # server then knows at once; otherwise it would wait for it.
        again = waiting(self._receive())
        if again is not None:
            again.cancel()
            self._unreadable = True

    def _leave(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()

    def unwatch(self) -> None:
        """Stop reading and watching. Done before the last byte is sent: granian reports that as leaving, too."""
        self._left = None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    # --- the answer ------------------------------------------------------------------------------------

    def start(self, status: int, headers: Headers) -> None:
        """Begin the answer. After this nothing can be retried."""
        self.started = True
        if self.added is not None:
            headers = with_own(headers, self.added)
        if self.limits is not None:
            headers = [*(field for field in headers if not field[0].startswith(b"x-ratelimit-")), *self.limits]
        if self.is_last and self.scope.get("http_version") != "2":
            headers = [*headers, (b"connection", b"close")]
        self._send({"type": "http.response.start", "status": status, "headers": headers})

    def send(self, data: bytes) -> FutureLike | None:
        """Send a part of the body that others follow; returns what to wait for before the next one, if anything."""
        # Done for each chunk: an attribute that is called where it is looked up costs twice as much.
        send = self._send
        operation = send({"type": "http.response.body", "body": data, "more_body": True})
        return operation if HAS_TO_WAIT[operation.__class__] else None

    def finish(self, last: bytes = b"") -> None:
        """Send the last part of the body."""
        self._send({"type": "http.response.body", "body": last, "more_body": False})

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self.unwatch()
        self.start(status, headers)
        self.finish(body)

    def answer_plainly(self, status: int, content_type: bytes, body: bytes, request_id: bytes) -> None:
        """Send a whole answer of the router's own."""
        headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
        ]
        self.answer(status, headers, b"" if self.method == "HEAD" else body)

    def answer_error(self, error: RouterError, request_id: bytes) -> None:
        """Send an error of the router's own, in the shape that the route's clients know."""
        body = error_body(error, request_id.decode("latin-1"), self.route.dialect)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
        ]
        if error.retry_after is not None:
            headers.append((b"retry-after", b"%d" % error.retry_after))
        if error.retry_after_ms is not None:
            headers.append((b"retry-after-ms", b"%d" % error.retry_after_ms))
        if error.is_final:
            headers.append((b"x-should-retry", b"false"))
        if error.allow is not None:
            headers.append((b"allow", error.allow.encode()))
        if error.challenge is not None:
            headers.append((b"www-authenticate", error.challenge.encode()))
        if error.worker is not None:
            headers.append((WORKER_HEADER, error.worker.encode()))
        if error.close:
            self.is_last = True
        # Who asks before sending may not have begun, and reading would be the permission to.
        asks = self._size == 0 and b"expect" in self.fields
        self._lingers = not asks and (error.status == 413 or (error.status == 401 and self._sends_more()))
        self.answer(error.status, headers, body if self.method != "HEAD" else b"")

    def _sends_more(self) -> bool:
        """Whether the body of a request that was refused by its head is still on its way."""
        if self._early is None:
            return False
        declared = self.fields.get(b"content-length")
        body, more = self._early.get("body", b""), self._early.get("more_body", False)
        return bool(more) if declared is None else int(declared) > len(body)

    def close(self) -> None:
        """Let go of the request: an answer that was not ended is cut off, so that the client sees the break."""
        self.unwatch()
        if self._unreadable and not self.started:
            # As bare as the server's own answer to a head that it can not read.
            self.is_last = True
            self.answer(400, [(b"content-length", b"0")], b"")
        if self._lingers:
            Lingering(self._transaction)
        else:
            self._transaction.done()
        # granian keeps a connection open for as long as somebody could still ask for the request's body. The
        # request and its client refer to each other: they would, until the next garbage collection.
        del self._transaction, self._receive, self._send
        self._on_body = None
