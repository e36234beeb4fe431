"""A decode worker's answer on its way to the client, with what of it is the prefill worker's to say (`usage.py`).

Streams go on part by part. Of other JSON the length stands in its head, so it goes on when all of it is there: vLLM
sends it so. What is compressed, no JSON, an error or larger than `MOST` passes as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.pd.collector import MOST
from dataplane.pd.lines import Lines
from dataplane.pd.usage import USAGE, event_mark, tells_transfer, with_cached_tokens, without_transfer
from dataplane.server import FutureLike

if TYPE_CHECKING:
    from dataplane.client import Client, Headers


class Changes:
    """What is to be changed, as far as it is known yet."""

    __slots__ = ("_hides_transfer", "cached", "path")

    def __init__(self, path: str, *, hides_transfer: bool) -> None:
        self.path = path
        self._hides_transfer = hides_transfer
        self.cached: int | None = None
        """How many of the prompt's tokens the prefill worker says were cached; None when it tells nothing."""

    @property
    def are_in_events(self) -> bool:
        """Whether a stream may need any."""
        # No other streams tell of a transfer.
        return self.cached is not None or (self._hides_transfer and self.path == "/v1/responses")

    def whole(self, body: bytes) -> bytes:
        """Return an answer as the client gets it; the same object where nothing changes."""
        return self._made(body, is_event=False)

    def event(self, text: bytes) -> bytes:
        """Return the JSON of an event so."""
        return self._made(text, is_event=True)

    def _made(self, text: bytes, *, is_event: bool) -> bytes:
        if self.cached is not None and USAGE in text:
            text = with_cached_tokens(self.path, text, self.cached, is_event=is_event)
        if self._hides_transfer and tells_transfer(text):
            text = without_transfer(self.path, text, is_event=is_event)
        return text


class Answer:
    """A `Taker` before the client. Whoever breaks it off must look whether the client's own has begun."""

    __slots__ = ("_client", "_head", "_lines", "_parts", "_size", "changes")

    def __init__(self, client: Client, *, hides_transfer: bool) -> None:
        """Pass on to `client`. `hides_transfer`: it is not to see where KV cache is."""
        self._client = client
        self.changes = Changes(client.path, hides_transfer=hides_transfer)
        self._head: tuple[int, Headers] | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._lines: Lines | None = None

    @property
    def method(self) -> str:
        """The request's method."""
        return self._client.method

    @property
    def started(self) -> bool:
        """Whether the answer has begun, also one that is still kept back."""
        return self._head is not None or self._client.started

    def start(self, status: int, headers: Headers) -> None:
        """Begin the answer."""
        kind = _kind(status, headers)
        if kind == b"application/json":
            self._head = status, headers
            return
        if kind == b"text/event-stream":
            self._lines = Lines(self.changes.event, event_mark(self.changes.path), MOST)
        self._client.start(status, headers)

    def send(self, data: bytes) -> FutureLike | None:
        """Take a part that others follow; returns what to wait for before the next one, if anything."""
        if self._head is not None:
            return self._keep(*self._head, data)
        if (lines := self._changing) is not None:
            data = lines.take(data)
            if not data:
                return None
        return self._client.send(data)

    def finish(self, last: bytes = b"") -> None:
        """Take the last part."""
        if self._head is not None:
            (status, headers), self._head = self._head, None
            self.answer(status, headers, b"".join((*self._parts, last)))
            self._parts.clear()
            return
        if (lines := self._changing) is not None:
            last = lines.take(last) + lines.rest()
        self._client.finish(last)

    @property
    def _changing(self) -> Lines | None:
        """The stream's lines, while they may hold something to be changed."""
        lines = self._lines
        return lines if lines is not None and (not lines.is_between or self.changes.are_in_events) else None

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Take a whole answer."""
        if _kind(status, headers) == b"application/json":
            changed = self.changes.whole(body)
            if changed is not body:
                headers = [field for field in headers if field[0] != b"content-length"]
                headers.append((b"content-length", b"%d" % len(changed)))
                body = changed
        self._client.answer(status, headers, body)

    def unwatch(self) -> None:
        """Know that the last part comes."""
        self._client.unwatch()

    def _keep(self, status: int, headers: Headers, data: bytes) -> FutureLike | None:
        self._parts.append(data)
        self._size += len(data)
        if self._size <= MOST:
            return None
        self._head = None
        whole = b"".join(self._parts)
        self._parts.clear()
        self._client.start(status, headers)
        return self._client.send(whole)


def _kind(status: int, headers: Headers) -> bytes:
    """Return the type of an answer that can be read; nothing for an error, or one that is coded."""
    if not 200 <= status < 300:
        return b""
    fields = dict(headers)
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        return b""
    return fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
