"""W3C Trace Context (level 1): the `traceparent` field as it comes and as it goes on. No clock, no socket."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

TRACEPARENT = b"traceparent"
REPLACED = frozenset({TRACEPARENT})
_match = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?").fullmatch
_SAMPLED = 1


class Parent(NamedTuple):
    """What a caller's `traceparent` says. Ids are numbers of 128 and 64 bits, never 0."""

    trace_id: int
    span_id: int
    is_sampled: bool


def parse(value: bytes) -> Parent | None:
    """Return what the field says; None when it is not valid, and then counts as absent (section 3.2.2)."""
    found = _match(value)
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    # Later versions may add something; the present one has nothing more.
    if version == b"00" and more is not None:
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    return Parent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED)) if trace_id and span_id else None


class Told(Protocol):
    """What an attempt's exchange tells of it; times are the loop's, in seconds."""

    @property
    def sent_at(self) -> float: ...  # noqa: D102 - as said
    @property
    def first_byte_at(self) -> float: ...  # noqa: D102
    @property
    def status(self) -> int: ...  # noqa: D102


class AttemptSpan:
    """What of one attempt only its end tells: times of the loop in seconds (0: it did not come to that)."""

    __slots__ = ("ended", "first_byte", "line", "sent", "span_id", "status")

    def __init__(self, trace: str, span_id: int) -> None:
        """`trace` is the trace's name."""
        self.span_id = span_id
        self.line = f"traceparent: 00-{trace}-{span_id:016x}-01\r\n".encode()
        """What the worker gets, so that its spans are children of the attempt's."""
        self.sent = 0.0
        self.first_byte = 0.0
        self.ended = 0.0
        self.status = 0

    def end(self, exchange: Told | None, now: float) -> None:
        """Know that the attempt has ended; one that was never sent has no exchange."""
        if self.ended:
            return
        self.ended = now
        if exchange is not None:
            self.sent, self.first_byte, self.status = exchange.sent_at, exchange.first_byte_at, exchange.status


class Trace:
    """A request that is traced. `parent_id` is the caller's span, 0 for none."""

    __slots__ = ("_draw", "name", "parent_id", "span_id", "trace_id")

    def __init__(self, trace_id: int, parent_id: int, draw: Callable[[int], int]) -> None:
        """`draw` gives a random number of so many bits."""
        self._draw = draw
        self.trace_id = trace_id
        self.name = f"{trace_id:032x}"
        """The trace's id as people and other programs write it: 32 hex digits."""
        self.parent_id = parent_id
        # 0 is no id.
        self.span_id = draw(64) or 1

    def attempt(self) -> AttemptSpan:
        """Begin an attempt's span."""
        return AttemptSpan(self.name, self._draw(64) or 1)


def trace_from(parent: Parent | None, rng: random.Random) -> Trace:
    """Go on with a trace, or begin one."""
    draw = rng.getrandbits
    return Trace(draw(128) or 1, 0, draw) if parent is None else Trace(parent.trace_id, parent.span_id, draw)
