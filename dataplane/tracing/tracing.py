"""A plane's traces: which requests are traced, and what waits to be told. All of it runs in the event loop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from dataplane.access_lines import Ended
from dataplane.exemplars import Exemplars
from dataplane.token_bucket import TokenBucket
from dataplane.tracing.context import TRACEPARENT, Parent, Trace, parse, trace_from

BEGUN_PER_SECOND = 100.0
"""Traces that a plane begins by itself. Telling of one costs about 0.05 ms, in a thread that the loop waits for."""
CONTINUED_PER_SECOND = 500.0
"""Those that callers have begun: they chose these requests, and a trace without its middle is of little use."""
_ROUNDING = 1e-6
"""Seconds by which `TokenBucket.next_at` may be late, and far more than a float of a clock is."""
MOST_ENDING = 4
"""Exporters that were left at reloads and still tell what they have: each a thread, for 7 s if its collector hangs."""


class Telling(Protocol):
    """What takes ended requests; `dataplane.tracing.exporter`."""

    exported: int
    failed: int

    def put(self, request: Ended, trace: Trace) -> bool:
        """Take one; False when there is no room."""
        ...

    def end(self) -> None:
        """Take no more, and tell what is left while the loop goes on."""
        ...

    @property
    def is_ended(self) -> bool:
        """Whether it has told all that it will."""
        ...

    def close(self) -> None:
        """Take no more, and wait a bounded time until it has told what is left."""
        ...


Open = Callable[[str], Telling]
"""Makes one for an endpoint."""


class Tracing:
    """`is_on` is all that a request asks while nobody wants traces."""

    def __init__(
        self,
        rng: random.Random,
        now: float,
        opening: Open | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`now` is the loop's time in seconds, `wall` Unix time; without `opening` there are no traces."""
        self._rng = rng
        self._opening = opening
        self._telling: Telling | None = None
        self._ending: list[Telling] = []
        self._endpoint: str | None = None
        self._ratio = 1.0
        self._begun = _bucket(now, BEGUN_PER_SECOND)
        self._continued = _bucket(now, CONTINUED_PER_SECOND)
        self._none_before = float("-inf")
        """No trace can begin until then, for want of a token."""
        self._ended_exported = self._ended_failed = 0
        self.is_on = False
        self.exemplars = Exemplars(wall)
        self.passed_over = 0
        """Requests that would have been traced but for the limits."""
        self.dropped = 0
        """Traces for which there was no room."""

    @property
    def counts(self) -> dict[str, int]:
        """Traces by what became of them; see `shared.catalog.TRACES`."""
        return {
            "exported": self.exported,
            "failed": self.failed,
            "dropped": self.dropped,
            "passed_over": self.passed_over,
        }

    @property
    def exported(self) -> int:
        """Traces that a collector took."""
        return self._ended_exported + sum(one.exported for one in self._tellings())

    @property
    def failed(self) -> int:
        """Traces that it did not take."""
        return self._ended_failed + sum(one.failed for one in self._tellings())

    def _tellings(self) -> Iterator[Telling]:
        yield from self._ending
        if self._telling is not None:
            yield self._telling

    def use(self, endpoint: str | None, ratio: float) -> None:
        """Tell a collector from now on (None: nobody), of this share of the requests whose callers trace nothing."""
        self._ratio = ratio
        if endpoint == self._endpoint or self._opening is None:
            return
        self._leave()
        self._endpoint = endpoint
        self.tend()

    def tend(self) -> int:
        """Forget exporters that have ended, and open one that waited for that; return how many are still ending."""
        ended = [one for one in self._ending if one.is_ended]
        for one in ended:
            self._ending.remove(one)
            self._ended_exported += one.exported
            self._ended_failed += one.failed
        left = len(self._ending)
        if self._endpoint is not None and self._telling is None and self._opening is not None and left < MOST_ENDING:
            self._telling = self._opening(self._endpoint)
            self.is_on = True
        return left

    def begin(self, fields: Mapping[bytes, bytes], now: float) -> Trace | None:
        """Return the trace of a request with these fields that came at `now`; None when it has none.

        The caller's decision counts: a sampled trace goes on, one that is not does not.
        """
        if TRACEPARENT in fields and (parent := parse(fields[TRACEPARENT])) is not None:
            return self._trace(self._continued, parent, now) if parent.is_sampled else None
        if self._ratio < 1.0 and self._rng.random() >= self._ratio:
            return None
        # A busy plane passes over nearly all: that has to cost no more than a comparison.
        if now < self._none_before:
            self.passed_over += 1
            return None
        trace = self._trace(self._begun, None, now)
        if trace is None:
            self._none_before = self._begun.next_at() - _ROUNDING
        return trace

    def _trace(self, bucket: TokenBucket, parent: Parent | None, now: float) -> Trace | None:
        if not bucket.has_token(now):
            self.passed_over += 1
            return None
        bucket.take()
        return trace_from(parent, self._rng)

    def note(self, request: Ended, trace: Trace) -> bool:
        """Have a request told of that has ended; return whether there is room."""
        if self._telling is None or not self._telling.put(request, trace):
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        """Tell what is left, and nothing more; waits for it, for a bounded time."""
        self._leave()
        for one in self._ending:
            one.close()

    def _leave(self) -> None:
        """Have nobody told of what ends from now on."""
        telling, self._telling = self._telling, None
        self.is_on = False
        self._endpoint = None
        self.exemplars.clear()
        if telling is not None:
            telling.end()
            self._ending.append(telling)


def _bucket(now: float, per_second: float) -> TokenBucket:
    return TokenBucket(now, tokens=per_second, per_second=per_second, most=per_second)
