"""What a worker takes well, found by its answers: a limit that follows how long requests queue there. Pure.

By Little's law, of requests that end at some rate and wait for some time before their first byte

    queued = rate * (seconds to the first byte - seconds without a queue)

stand in the worker's queue. As in TCP Vegas (Brakmo and Peterson, 1995) the limit goes down by what stands there above
an allowance, and up by a little where next to nothing does and all of it is used:

    queued > 2 * allowance              limit - (queued - allowance), to half of it at most
    queued > allowance                  as it is
    else, with 4 in 5 slots used        limit + max(1, sqrt(limit) / 2)

with a tenth of the limit as the allowance. Ratios of latencies, as Netflix's gradients and Envoy's have them, say
little here: an engine's first byte takes 50 ms alone and 200 ms in a full batch, and nobody waits in either case. Those
150 ms count as a queue here, too: they say nothing where answers take seconds, but where a request is nearly all
prompt, the limit stays below what the worker can take.

Time goes by rounds. What ends tells of when it began, so after each change as many requests are passed over as
were open, and then half as many are measured. The seconds without a queue are those of rounds in which at most half
of the limit was used; where such do not come by themselves, the limit is halved for a round. That is done after two
rounds first, then after 4, 8, ... 64: each one costs half of what the worker does.

What streams have shown to be well comes down on evidence only. How long a whole answer takes is none: it is as long as
its text, and longer in a full batch where nobody waits. So a round in which nothing was streamed ends a look, and
doubles the limit where all of it is used: without streams it grows to the most that it may be.

What it grew by in such a way is proven by nothing. While at most half of it is used it comes back, halfway to what is
used each round, as a TCP window does whose sender has little to send (RFC 2861), and never below what streams had shown
to be well. When streams come it is first cut to what is open, and then halved round by round, for as long as that
shortens the queue: from 1,024 to 16 in six rounds, each half as long as the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import NamedTuple

LEAST = 4
"""With fewer at a time an engine's batches are of no use."""
START = 16
FEWEST = 10
"""Streams that are measured at least: means of fewer are noise."""
UNSTREAMED = 30
"""Whole answers, at least, after which it is known that nothing is streamed: of one stream in ten, 24 times in 25."""
_ALLOWED = 0.1
_USED = 0.8
_LOOKS = (2, 64)
"""Rounds until it is looked for the seconds without a queue: first, and in the end."""


class Seen(NamedTuple):
    """What a worker did since the last step.

    Of the requests that `succeeded` so many were `streams`, with the sum of their seconds to the first byte; `open`
    are those that are there now.
    """

    succeeded: int
    streams: int
    first_byte_seconds: float
    open: int


@dataclass(frozen=True, slots=True)
class Limit:
    """A worker's limit is `now`; it was or will be `kept` but for a look at how it is without a queue (`is_looking`).

    Streams have shown that `proven` is well, or it is where the limit began. While it is halved from far above that, it
    `is_searching`.

    `alone` are the seconds to the first byte without a queue, None before any are known. The round at hand has still
    to pass over `skipping` requests, and has measured the rest since `since` (monotonic seconds).
    """

    kept: float = START
    proven: float = START
    is_searching: bool = False
    is_looking: bool = True
    alone: float | None = None
    rounds: int = 0
    look_after: int = _LOOKS[0]
    skipping: int = 0
    since: float = 0.0
    succeeded: int = 0
    streams: int = 0
    first_byte_seconds: float = 0.0
    most_open: int = 0

    @property
    def now(self) -> int:
        """What the worker may have at a time."""
        return max(LEAST, int(self.kept / 2 if self.is_looking else self.kept))


def begin(open_now: int, most: int, now: float) -> Limit:
    """Return the limit of a worker of which nothing is known but that it has so many open."""
    kept = float(min(most, max(START, open_now)))
    return _round(Limit(kept, proven=kept), open_now, now)


def step(limit: Limit, seen: Seen, most: int, now: float) -> Limit:
    """Return the limit after what was seen; at most `most`. About once a second."""
    if limit.kept > most:
        limit = replace(limit, kept=float(most))
    if not limit.is_searching and limit.kept > limit.proven and limit.streams + seen.streams >= FEWEST:
        return _round(_cut(limit, seen.open), seen.open, now)
    if limit.skipping > 0:
        return replace(limit, skipping=limit.skipping - seen.succeeded, since=now, most_open=seen.open)
    limit = replace(
        limit,
        succeeded=limit.succeeded + seen.succeeded,
        streams=limit.streams + seen.streams,
        first_byte_seconds=limit.first_byte_seconds + seen.first_byte_seconds,
        most_open=max(limit.most_open, seen.open),
    )
    if now <= limit.since:
        return limit
    if not limit.streams and limit.succeeded >= max(UNSTREAMED, min(limit.now, 2 * limit.most_open)):
        after = _round(_unmeasured(limit, most), seen.open, now)
        # Of one that is not used nothing is known by those that were open either.
        return replace(after, skipping=0) if after.kept < limit.kept else after
    if limit.streams < FEWEST or limit.succeeded < limit.now / 2:
        return limit
    judged = _searched(limit, now) if limit.is_searching else _judged(limit, most, now)
    return _round(judged, seen.open, now)


def _unmeasured(limit: Limit, most: int) -> Limit:
    """Return what follows from a round without streams: nothing speaks against more."""
    kept = limit.kept
    if not limit.is_looking and limit.most_open >= _USED * limit.now:
        kept = min(float(most), 2 * kept)
    elif limit.most_open <= kept / 2:
        kept = max(min(kept, limit.proven), (kept + limit.most_open) / 2)
    return replace(limit, kept=kept, is_searching=False, is_looking=False, rounds=0)


def _cut(limit: Limit, open_now: int) -> Limit:
    """Return what follows when streams come to a limit of which more is allowed than is proven."""
    kept = max(limit.proven, min(limit.kept, float(open_now)))
    if kept <= limit.proven:
        return replace(limit, kept=kept)
    return replace(limit, kept=kept / 2, is_searching=True, is_looking=False, alone=None)


def _searched(limit: Limit, now: float) -> Limit:
    """Return what follows from a round in which half of what was used in the one before was allowed."""
    seconds = limit.first_byte_seconds / limit.streams
    if limit.alone is not None:
        before = 2 * limit.kept
        queued = limit.succeeded / (now - limit.since) * (limit.alone - seconds)
        if queued <= 2 * max(1.0, _ALLOWED * before):
            # Nobody waited with twice as many either.
            alone = min(limit.alone, seconds)
            return replace(limit, kept=before, proven=before, is_searching=False, alone=alone, rounds=0)
    if limit.kept <= LEAST:
        return replace(limit, kept=LEAST, proven=LEAST, is_searching=False, alone=seconds, rounds=0)
    return replace(limit, kept=max(LEAST, min(limit.kept, limit.most_open) / 2), alone=seconds)


def _judged(limit: Limit, most: int, now: float) -> Limit:
    """Return what follows from a round."""
    seconds = limit.first_byte_seconds / limit.streams
    if limit.is_looking or limit.alone is None or limit.most_open <= limit.kept / 2:
        after = limit.look_after if not limit.is_looking else min(_LOOKS[1], 2 * limit.look_after)
        return replace(limit, alone=seconds, is_looking=False, rounds=0, look_after=after)
    alone = min(limit.alone, seconds)
    queued = limit.succeeded / (now - limit.since) * (seconds - alone)
    allowed = max(1.0, _ALLOWED * limit.kept)
    kept = limit.kept
    if queued > 2 * allowed:
        kept = max(LEAST, kept / 2, kept - (queued - allowed))
    elif queued <= allowed and limit.most_open >= _USED * kept:
        kept = min(most, kept + max(1.0, sqrt(kept) / 2))
    rounds = limit.rounds + 1
    is_looking = rounds >= limit.look_after
    return replace(limit, kept=kept, proven=kept, alone=alone, rounds=rounds, is_looking=is_looking)


def _round(limit: Limit, open_now: int, now: float) -> Limit:
    skipping = max(limit.now, open_now)
    return replace(limit, skipping=skipping, since=now, succeeded=0, streams=0, first_byte_seconds=0.0, most_open=0)
