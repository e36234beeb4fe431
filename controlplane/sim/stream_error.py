"""The answer of a worker whose engine failed after the headers: 200, and the error as one of the first events."""

from __future__ import annotations

import msgspec

from . import answers, errors, wire
from .exchange import Exchange, Pull


class _Wanted(msgspec.Struct):
    stream: bool | None = None


class ErrorStream:
    """A stream of an error event and the end mark."""

    def __init__(self, code: int, opening: bytes | None = None) -> None:
        error = errors.server_error(code)
        self._events = [answers.DONE, b"data: " + error + b"\n\n"]
        if opening is not None:
            self._events.append(opening)

    @classmethod
    def answer(cls, exchange: Exchange, code: int, opening: bytes | None = None) -> None:
        """Answer with the event, behind an `opening`, if a stream was asked for, else with the error itself."""
        try:
            wanted = bool(msgspec.json.decode(exchange.request.body, type=_Wanted).stream)
        except msgspec.DecodeError:
            wanted = False
        if wanted:
            exchange.stream(200, wire.EVENTS, cls(code, opening))
        else:
            exchange.send(code, wire.JSON, errors.server_error(code))

    def pull(self) -> bytes | Pull:
        """Return the next event."""
        return self._events.pop() if self._events else Pull.END

    def cancel(self) -> None:
        """Hold nothing."""
