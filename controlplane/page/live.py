"""Server-sent events for the page: the fleet's records, each as it changes, and what happened.

Nothing is done for this while nobody listens, but for the figures that histories keep. A listener that does not take
what it is sent gets the newest at last, and is let go when that takes too long. The records of a large fleet are
written with pauses, in which tables are published, and the time that they take stays a small share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from controlplane.admin_answers import problem
from controlplane.events.event import Event
from controlplane.events.reading import newest_events
from controlplane.figures.traffic import Figures
from controlplane.page.board import Board, Step
from controlplane.page.history import INTERVAL, Histories, History
from controlplane.page.records import Records, moment_of
from controlplane.status_report import StatusReport
from shared.clock import Clock
from shared.runtime_dir import RuntimeDir

TICK = 1.0
"""Seconds between looks while somebody listens; planes report as often."""
SHARE = 0.05
"""Of one core that looking may take. In a fleet in which one look takes longer than 50 ms, it is done less often."""
IN_A_ROW = 50
"""Records that are written without a pause: about half a millisecond."""
MAX_LISTENERS = 32
"""A team that has the page open on every screen; each costs a connection of 512, and the encoding of what changed."""
BEAT = 5.0
"""Seconds after which a listener hears something even where nothing changes, so that it knows of a broken line."""
PATIENCE = 20.0
"""Seconds within which a listener must take what it is sent."""
MAX_EVENTS = 50
"""Events that are told at once."""

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


class Live:
    """Knows who listens."""

    def __init__(
        self,
        status: Callable[[], StatusReport],
        figures: Callable[[], Figures],
        runtime: RuntimeDir,
        clock: Clock,
    ) -> None:
        self._status = status
        self._figures = figures
        self._runtime = runtime
        self._clock = clock
        self._board = Board()
        self._records = Records()
        self._histories = Histories()
        self._events: tuple[Event, ...] = ()
        self._listeners = 0
        self._wanted = asyncio.Event()
        self._looked = asyncio.Event()
        self._noted = float("-inf")

    async def run(self) -> None:
        """Look at the fleet until cancelled."""
        while True:
            began = self._clock.monotonic()
            await self.look()
            spent = self._clock.monotonic() - began
            if self._listeners:
                await asyncio.sleep(max(TICK, spent / SHARE))
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(INTERVAL):
                        await self._wanted.wait()

    async def look(self) -> None:
        """Take in how the fleet is now, and have it told."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        report, figures = self._status(), self._figures()
        if now - self._noted >= INTERVAL:
            self._noted = now
            self._histories.note(round(wall, 3), {worker.id: moment_of(worker) for worker in report.workers})
        if not self._listeners:
            return
        records: dict[str, bytes] = {}
        for key, record in self._records.of(report, figures, wall):
            records[key] = record
            if len(records) % IN_A_ROW == 0:
                await asyncio.sleep(0)
        self._board.update(records)
        self._events = await asyncio.to_thread(newest_events, self._runtime, MAX_EVENTS)
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()

    def history(self, worker: str) -> History:
        """Return a worker's figures of the last minutes."""
        return self._histories.of(worker)

    def answer(self) -> Response:
        """Return what follows the fleet until its client leaves."""
        if self._listeners >= MAX_LISTENERS:
            return problem(503, "too_many_listeners", f"{MAX_LISTENERS} pages follow this router; close some.")
        return _Stream(self)

    async def tell(self, send: Send) -> None:
        """Tell one listener, until it does not take what it is sent."""
        self._listeners += 1
        self._wanted.set()
        try:
            await self._tell(send)
        except TimeoutError:
            # The answer ends without an end, which the client takes for a broken line, and asks again.
            return
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._wanted.clear()

    async def _tell(self, send: Send) -> None:
        version, told, events = 0, self._clock.monotonic(), self._events
        if self._listeners == 1:
            # Nobody has looked for as long as nobody listened.
            await self._looked.wait()
        while True:
            step = self._board.since(version)
            known, events = frozenset(events), self._events
            new = [event for event in events if event not in known]
            now = self._clock.monotonic()
            if step.version != version or now - told >= BEAT:
                version, told = step.version, now
                await _send(send, b"change", _change(step, self._clock.wall()))
            if new:
                await _send(send, b"events", msgspec.json.encode(new))
            if version == self._board.version and events is self._events:
                await self._looked.wait()


class _Stream(Response):
    """The answer; it ends when the client leaves, or is too slow."""

    def __init__(self, live: Live) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        telling = asyncio.create_task(self._live.tell(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            telling.cancel()
            await asyncio.wait((telling, leaving))
        if not telling.cancelled():
            telling.result()


async def _left(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()


async def _send(send: Send, kind: bytes, data: bytes) -> None:
    body = b"event: %b\ndata: %b\n\n" % (kind, data)
    async with asyncio.timeout(PATIENCE):
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _change(step: Step, wall: float) -> bytes:
    records = {key: msgspec.Raw(record) for key, record in step.records.items()}
    return msgspec.json.encode({"at": round(wall, 3), "full": step.full, "records": records, "gone": step.gone})
