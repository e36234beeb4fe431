"""The breakers of pairs: what leaves out two workers for each other, and for nobody else.

    closed --(failures)--> open --(a pause)--> one try --(passed)--> closed
                             ^                    |
                             +--(failed: twice the pause)

A link that is cut is between two workers that both work. Each plane finds out by itself, since few failures are
enough, and tells nobody: a decode worker that fails with everybody is noticed by its own breaker.

A pure machine. Times are in seconds on any one clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

FAILURES = 3
"""Failures without a success between them that open a pair."""
WINDOW = 60.0
"""Seconds after which a failure is forgotten that no other one followed."""
FIRST_PAUSE = 10.0
LONGEST_PAUSE = 120.0
"""Each failed try costs a client the time of a prefill, so they become rare."""
PATIENCE = 60.0
"""Seconds after which another try is made if nothing was heard of the last one."""
MOST = 4096
"""Pairs that are remembered; the ones that failed longest ago are forgotten first."""

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _State:
    failures: int = 0
    failed_at: float = 0.0
    # Open until then, when `pause` is not 0; a try is under way since `trying`.
    until: float = 0.0
    pause: float = 0.0
    trying: float | None = None


class PairBreakers(Generic[K]):
    """Those of pairs that failed last time: few, as a rule none."""

    def __init__(self) -> None:
        self._states: dict[K, _State] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._states)

    def __len__(self) -> int:
        """How many pairs are remembered."""
        return len(self._states)

    def failed(self, pair: K, now: float) -> bool:
        """Note a failure of the pair; whether it opened now."""
        state = self._states.pop(pair, None) or _State()
        self._states[pair] = state
        if len(self._states) > MOST:
            del self._states[next(iter(self._states))]
        if state.pause:
            if state.trying is None:
                # Of a request that was sent before it opened, or for want of another pair.
                return False
            state.pause = min(LONGEST_PAUSE, 2 * state.pause)
        else:
            state.failures = 1 if now - state.failed_at > WINDOW else state.failures + 1
            state.failed_at = now
            if state.failures < FAILURES:
                return False
            state.pause = FIRST_PAUSE
        state.trying = None
        state.until = now + state.pause
        return True

    def passed(self, pair: K) -> bool:
        """Note a success; whether it closed the pair now."""
        state = self._states.pop(pair, None)
        return state is not None and bool(state.pause)

    def is_out(self, pair: K, now: float) -> bool:
        """Whether the pair should get no request."""
        state = self._states.get(pair)
        if state is None or not state.pause:
            return False
        if state.trying is not None:
            return now - state.trying < PATIENCE
        return now < state.until

    def opened(self, now: float) -> Iterator[tuple[K, float]]:
        """Yield the pairs that are not closed, and after how many seconds the next request tries each."""
        for pair, state in self._states.items():
            if state.pause:
                ready = state.until if state.trying is None else state.trying + PATIENCE
                yield pair, max(0.0, ready - now)

    def begun(self, pair: K, now: float) -> bool:
        """Know that a request goes to the pair; whether it is the one try of a pair that was open."""
        state = self._states.get(pair)
        if state is None or not state.pause or self.is_out(pair, now):
            return False
        state.trying = now
        return True

    def ended(self, pair: K) -> None:
        """Know that a request of the pair has ended, which may say nothing: then another one may be the try."""
        state = self._states.get(pair)
        if state is not None:
            state.trying = None

    def forget(self, is_gone: Callable[[K], bool]) -> None:
        """Forget pairs of workers that are gone."""
        for pair in [pair for pair in self._states if is_gone(pair)]:
            del self._states[pair]
