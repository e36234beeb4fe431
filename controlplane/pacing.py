"""How often workers are read, so that reading them all stays within a share of one core.

What the control plane does grows with the number of workers, and nearly all of it is reading their metrics
pages. So its whole CPU time is held against the budget, and the pauses between readings are what gives.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from shared.clock import Clock

log = logging.getLogger(__name__)

TARGET = 0.9
"""The part of the budget that is aimed at, so that it is kept and not only approached."""
LONGEST = 120.0
"""The factor at which the pauses stop growing: even the shortest interval is seconds then."""
_PERIOD = 1.0
_WORTH_TELLING = 1.5
_LASTING = 5.0
"""Seconds after which it is told: a start alone, or a single slow page, is over sooner."""


def next_stretch(stretch: float, share: float, budget: float) -> float:
    """Return the factor by which pauses are to be longer than asked for, 1 at least.

    `stretch` is the factor so far, `share` what was used of a core meanwhile, `budget` what may be used (0..1).
    One step at most doubles or halves it, as what was used in one second says little about the next.
    """
    wanted = stretch * min(2.0, max(0.5, share / (TARGET * budget)))
    return min(LONGEST, max(1.0, wanted))


class Pacing:
    """The factor, followed once a second."""

    def __init__(self, budget: float, clock: Clock, cpu: Callable[[], float] = time.process_time) -> None:
        """`budget` is a share of one core (0..1), `cpu` gives this process' CPU seconds so far."""
        self._budget = budget
        self._clock = clock
        self._cpu = cpu
        self._since = clock.monotonic()
        self._used = cpu()
        self._told = 1.0
        self._longer_since: float | None = None
        self.stretch = 1.0

    def use(self, budget: float) -> None:
        """Keep within this share of a core from now on."""
        self._budget = budget

    def look(self, interval: float) -> None:
        """Adjust the factor when a second has passed; `interval` (seconds) is what was asked for, to be told."""
        now = self._clock.monotonic()
        if now - self._since < _PERIOD:
            return
        used = self._cpu()
        self.stretch = next_stretch(self.stretch, (used - self._used) / (now - self._since), self._budget)
        self._since, self._used = now, used
        if self.stretch <= _WORTH_TELLING * self._told:
            self._longer_since = None
        elif self._longer_since is None:
            self._longer_since = now
        elif now - self._longer_since >= _LASTING:
            log.warning(
                "reading every worker's load each %.3g s takes more than %.0f %% of a core: reading each %.3g s "
                "(--load-interval-ms, --load-cpu-percent)",
                interval,
                100 * self._budget,
                interval * self.stretch,
            )
            self._told = self.stretch
            self._longer_since = None
        if self.stretch == 1.0 < self._told:
            log.info("reading every worker's load each %.3g s again", interval)
            self._told = 1.0
