"""Whether prefill and decode workers find each other: what planes tell of that, put together and logged.

Which two workers can be a pair is a connector's to say, and planes have the connectors. So each plane tells once a
second why no request finds a pair; the fleet has none when no plane has one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable

import msgspec

from controlplane.events.event import about
from controlplane.planes import Planes
from shared.clock import Clock
from shared.plane_report import PairReport

PATIENCE = 5.0
"""Seconds without a pair, for one reason, before that is news: workers that start together are not ready together."""

log = logging.getLogger(__name__)


class OpenPairStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Two workers that `planes` leave out for each other; one of these tries them again in `seconds`."""

    prefill: str
    decode: str
    planes: int
    seconds: float


class PairStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Why no prefill and decode worker are a pair (empty: some are), and some of those that are left out as one.

    `opened` counts these, on the plane that has most of them.
    """

    missing: str = ""
    open: tuple[OpenPairStatus, ...] = ()
    opened: int = 0


def pair_status(told: Collection[PairReport]) -> PairStatus:
    """Put together what planes have told."""
    found: dict[tuple[str, str], OpenPairStatus] = {}
    for one in (pair for report in told for pair in report.open):
        before = found.get((one.prefill, one.decode))
        found[one.prefill, one.decode] = OpenPairStatus(
            prefill=one.prefill,
            decode=one.decode,
            planes=1 if before is None else before.planes + 1,
            seconds=one.seconds if before is None else min(one.seconds, before.seconds),
        )
    return PairStatus(
        missing=missing(told),
        open=tuple(found.values()),
        opened=max([len(found), *(report.opened for report in told)]),
    )


def missing(told: Iterable[PairReport]) -> str:
    """Return why no plane has a pair; empty when one has, or none has told."""
    reasons = [report.missing for report in told]
    return reasons[0] if reasons and all(reasons) else ""


class PairWatch:
    """Knows when to say that the fleet has no pair, and that it has one again. Pure; times are in seconds."""

    def __init__(self) -> None:
        self._seen = self._said = ""
        self._since = 0.0

    def look(self, told: Collection[PairReport], now: float) -> str | None:
        """Return why there is no pair when that is news, an empty text when there is one again; else None."""
        if not told:
            # Nobody speaks, or there is no prefill/decode any more: nothing is known.
            return None
        reason = missing(told)
        if reason != self._seen:
            self._seen, self._since = reason, now
        if reason == self._said or (reason and now - self._since < PATIENCE):
            return None
        self._said = reason
        return reason


class OpenPairWatch:
    """Knows which pairs were said to be left out. Pure."""

    def __init__(self) -> None:
        self._said: frozenset[tuple[str, str]] = frozenset()

    def look(self, told: Collection[PairReport]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return the pairs (prefill, decode) that are left out now, and those that are not any more."""
        status = pair_status(told)
        # Of very many only some are told, others each time: nobody reads those one by one.
        if not told or status.opened > len(status.open):
            return [], []
        found = frozenset((one.prefill, one.decode) for one in status.open)
        before, self._said = self._said, found
        return sorted(found - before), sorted(before - found)


async def watch_pairs(planes: Planes, clock: Clock) -> None:
    """Log it, until cancelled."""
    watch, open_pairs = PairWatch(), OpenPairWatch()
    while True:
        await asyncio.sleep(1.0)
        now = clock.monotonic()
        told = planes.pair_reports(now)
        left_out, back = open_pairs.look(told)
        for prefill, decode in left_out:
            text = "%s can not hand over to %s: the breaker of the pair is open"
            log.warning(text, prefill, decode, extra=about("breaker", prefill))
        for prefill, decode in back:
            text = "the pair of %s and %s is left out no more"
            log.info(text, prefill, decode, extra=about("breaker", prefill))
        news = watch.look(told, now)
        if news:
            log.warning(
                "no prefill worker can hand over to a decode worker: %s; meanwhile one worker does each request as a "
                "whole, or it is refused (--pd-fallback)",
                news,
                extra=about("worker"),
            )
        elif news is not None:
            log.info("a prefill worker can hand over to a decode worker again", extra=about("worker"))
