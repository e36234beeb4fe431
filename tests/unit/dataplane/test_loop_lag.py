"""The event loop's lag, as it is observed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from dataplane import loop_lag
from dataplane.loop_lag import LoopLag
from shared import catalog


class SteppingClock:
    """Goes on by so many seconds, each time that it is asked, until it is over."""

    def __init__(self, *steps: float) -> None:
        self._steps = list(steps)
        self._now = 0.0
        self.over = asyncio.Event()

    def monotonic(self) -> float:
        if self._steps:
            self._now += self._steps.pop(0)
        else:
            self.over.set()
        return self._now

    def wall(self) -> float:
        raise AssertionError


def test_what_is_late_is_observed_by_as_much_as_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "INTERVAL", 0.0)

    async def run() -> LoopLag:
        # Each look asks twice: before it waits and after.
        clock = SteppingClock(0.0, 0.0005, 0.0, 0.02, 0.0, 5.0)
        lag = LoopLag(clock)
        task = asyncio.create_task(lag.run())
        await clock.over.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return lag

    (series,) = asyncio.run(run()).series()
    late = dict(zip((*catalog.LOOP_LAG.buckets, None), series.counts, strict=True))
    assert (late[0.025], late[None]) == (1, 1)
    assert series.name == catalog.LOOP_LAG.name
    assert series.sum == pytest.approx(5.0205)
