"""Keeps the history: a row every 15 s in a file of the runtime folder, where it outlives every process of the router.

The sums that a row was counted up to are kept beside it, with the row itself, before it is written: so what happened is
in exactly one row, also where a control plane is killed between two of them or while it writes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from controlplane.admission.standing import AdmissionStatus
from controlplane.planes import Planes
from controlplane.reports.reading import last_time
from controlplane.reports.rows import Peaks, Row, Sums, Tally, row_between
from shared.clock import Clock
from shared.decoding import DECODE_ERRORS
from shared.log_files import LogFile
from shared.runtime_dir import RuntimeDir, write_atomically
from shared.table import Worker

INTERVAL = 15.0
"""Seconds of a row: an hour has 240 of them, more than a plot has room for."""
LOOK_INTERVAL = 1.0
"""Seconds between two looks at what is open, waits and is in use: planes tell of it each second."""
MAX_FILE = 16 << 20
"""Bytes. A row has 0.5 to 2 KB in a small fleet, 33 KB in one of 500 busy workers."""
KEPT_FILES = 3
"""Older files beside the one that is written: 64 MiB in all, days of a small fleet, 8 hours of one of 500 workers."""

log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The sums up to which all is in rows, `row` the last of these."""

    sums: Sums
    row: Row | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Kept)


class History:
    """Writes rows. `workers` are those of the published table."""

    def __init__(
        self,
        runtime: RuntimeDir,
        planes: Planes,
        workers: Callable[[], Mapping[str, Worker]],
        clock: Clock,
        *,
        breakers: Counter[tuple[str, Any]],
        ejections: Counter[tuple[str, Any]],
        admission: Callable[[], AdmissionStatus] = AdmissionStatus,
    ) -> None:
        self._runtime = runtime
        self._planes = planes
        self._workers = workers
        self._clock = clock
        self._breakers = breakers
        self._ejections = ejections
        self._admission = admission
        self._file = LogFile(runtime.history_rows, most_bytes=MAX_FILE, kept=KEPT_FILES)
        # At the end one may still be written in a thread.
        self._one_at_a_time = threading.Lock()
        self._is_failing = False
        self._peaks = Peaks()
        self._sums: Sums
        self._since = 0.0

    def take_over(self) -> None:
        """Begin where an earlier control plane ended, else now; the planes' sums must have been taken over before."""
        kept = _read(self._runtime)
        self._since = self._clock.monotonic()
        if kept is None:
            self._sums = self._now()
            # At once: the next control plane may come before the first row.
            self._write(Kept(sums=self._sums))
            return
        self._sums = kept.sums
        # What has passed since counts too, unless the wall clock was set back.
        self._since -= max(0.0, self._clock.wall() - kept.sums.time)
        if kept.row is not None and kept.row.time > last_time(self._runtime):
            self._append(kept.row, b"\n")

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            for _ in range(round(INTERVAL / LOOK_INTERVAL)):
                await asyncio.sleep(LOOK_INTERVAL)
                self.look()
            if (kept := self._next()) is not None:
                await asyncio.to_thread(self._write, kept)

    def look(self) -> None:
        """Note how much there is at this moment."""
        active = sum(plane.report.active for plane in self._planes.present() if plane.report is not None)
        self._peaks.note(active, self._admission())

    def write(self) -> None:
        """Write a row of what is in none yet, now."""
        if (kept := self._next()) is not None:
            self._write(kept)

    def _now(self) -> Sums:
        return Sums(
            time=self._clock.wall(),
            totals=self._planes.totals(),
            breakers=_tallies(self._breakers),
            ejections=_tallies(self._ejections),
        )

    def _next(self) -> Kept | None:
        now = self._clock.monotonic()
        if not self._planes.is_complete(now):
            # Sums that lack a plane would fall now, and grow by all that it ever counted later.
            return None
        kept = self._until(now)
        self._sums, self._since, self._peaks = kept.sums, now, Peaks()
        return kept

    def _until(self, now: float) -> Kept:
        self.look()
        sums = self._now()
        row = row_between(self._sums, sums, self._workers(), seconds=now - self._since, peaks=self._peaks)
        return Kept(sums=sums, row=row)

    def newest(self) -> Row | None:
        """Return what is in no row yet as one, which is not written; None while it is not known."""
        now = self._clock.monotonic()
        return self._until(now).row if self._planes.is_complete(now) else None

    def _write(self, kept: Kept) -> None:
        with self._one_at_a_time:
            try:
                write_atomically(self._runtime.history_sums, _encoder.encode(kept))
            except OSError as error:
                self._failed(error)
            if kept.row is not None:
                self._append(kept.row)

    def _append(self, row: Row, before: bytes = b"") -> None:
        # A part of a line may be left of an attempt that failed or was cut off.
        before = b"\n" if self._is_failing else before
        try:
            self._file.write(before + msgspec.json.encode(row) + b"\n")
        except OSError as error:
            self._failed(error)
        else:
            self._is_failing = False

    def _failed(self, error: OSError) -> None:
        if not self._is_failing:
            log.error("can not keep the history in %s: %s", self._runtime.path, error.strerror)
        self._is_failing = True


def _tallies(counts: Counter[tuple[str, Any]]) -> tuple[Tally, ...]:
    return tuple(Tally(worker, str(what), count) for (worker, what), count in counts.items())


def _read(runtime: RuntimeDir) -> Kept | None:
    with suppress(FileNotFoundError):
        try:
            kept = _decoder.decode(runtime.history_sums.read_bytes())
        except (*DECODE_ERRORS, PermissionError) as error:
            log.warning("where the history ended, in %s, can not be read: %s", runtime.history_sums, error)
            return None
        kept.sums.totals = kept.sums.totals.fitting()
        return kept
    return None
