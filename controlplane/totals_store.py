"""Keeps what was counted for the next life of the control plane: else `/metrics` would fall when a plane goes, too.

It is the sums of planes that are gone, the last reports of those that live, and what the control plane itself tallies.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping
from typing import Any

import msgspec

from controlplane.planes import Planes
from controlplane.totals import Totals
from shared.decoding import DECODE_ERRORS
from shared.plane_report import CounterReport
from shared.runtime_dir import RuntimeDir, write_atomically

INTERVAL = 2.0
"""Seconds between two times that it is written: what a plane counts in that time is lost when both die within it."""

Tallies = Mapping[str, Counter[tuple[str, Any]]]
"""By a name of its own: how often something happened to a worker."""

log = logging.getLogger(__name__)


class KeptTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted. `ended` sums over planes that are gone; `reports` are the others' last.

    `tallies` are of workers, by name: worker, what happened, how often.
    """

    ended: Totals
    reports: tuple[CounterReport, ...]
    tallies: dict[str, tuple[tuple[str, str, int], ...]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KeptTotals)


def read_totals(runtime: RuntimeDir) -> KeptTotals | None:
    """Return what an earlier control plane of this router kept; None when there is nothing that can be read."""
    try:
        return _decoder.decode(runtime.totals.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, *DECODE_ERRORS) as error:
        log.warning("what was counted before, in %s, can not be read: %s", runtime.totals, error)
        return None


class TotalsStore:
    """Reads what was kept once, and writes it again and again without ever making the publisher wait for the disk.

    `workers` tells which are in the table: about others nothing is kept.
    """

    def __init__(
        self,
        runtime: RuntimeDir,
        planes: Planes,
        tallies: Tallies,
        workers: Callable[[], Container[str]],
    ) -> None:
        self._runtime = runtime
        self._planes = planes
        self._tallies = tallies
        self._workers = workers
        self._wanted = asyncio.Event()
        # At the end one may still be writing in a thread.
        self._one_at_a_time = threading.Lock()
        self._is_failing = False

    def take_over(self, alive: Collection[str], now: float) -> None:
        """Begin with what an earlier control plane kept; `alive` are the ids of the planes that live."""
        kept = read_totals(self._runtime)
        if kept is not None:
            self._planes.restore(kept.ended, kept.reports, alive, now)
            for name, tally in self._tallies.items():
                tally.update({(worker, event): count for worker, event, count in kept.tallies.get(name, ())})

    def write_soon(self) -> None:
        """Write without waiting for the next turn."""
        self._wanted.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._wanted.wait()
            except TimeoutError:
                log.debug("keeping what was counted")
            self._wanted.clear()
            await asyncio.to_thread(self._write, self._encoded())

    def write(self) -> None:
        """Write now."""
        self._write(self._encoded())

    def _encoded(self) -> bytes:
        ended, reports = self._planes.kept()
        known = self._workers()
        tallies = {
            name: tuple((worker, event, count) for (worker, event), count in tally.items() if worker in known)
            for name, tally in self._tallies.items()
        }
        return _encoder.encode(KeptTotals(ended=ended, reports=reports, tallies=tallies))

    def _write(self, data: bytes) -> None:
        try:
            with self._one_at_a_time:
                write_atomically(self._runtime.totals, data)
        except OSError as error:
            if not self._is_failing:
                log.error("can not keep what was counted in %s: %s", self._runtime.totals, error.strerror)
            self._is_failing = True
        else:
            self._is_failing = False
