"""Announces one engine to routers until it is told to stop: watches the engine, pings, and says goodbye."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from random import Random
from uuid import uuid4

from controlplane.register.announcing import Course, doubts
from controlplane.register.engine import Engine, Look
from controlplane.register.given import Given
from controlplane.register.line import Line
from shared.client_key_files import ClientKeyFiles
from shared.clock import Clock
from shared.registration import FromEngine, Goodbye
from shared.remote_address import TcpAddress
from shared.silence import Complaints
from shared.sockets import Context

WATCH = 0.5
"""Seconds between looks at the engine: by so much earlier than by its requests routers hear of its death."""
FAREWELL = 1.0
"""Seconds to wait for the routers' answers to a goodbye before this process ends."""

log = logging.getLogger(__name__)


class Agent:
    """One engine's registrar. Lives in one event loop and one `run`."""

    def __init__(
        self,
        given: Given,
        engine: Engine,
        advertised: str,
        routers: tuple[TcpAddress, ...],
        key_files: tuple[ClientKeyFiles, ...],
        clock: Clock,
        rng: Random,
        *,
        startup_timeout: float = 0.0,
    ) -> None:
        """`key_files` has one for each router, or none. `startup_timeout` is in seconds, 0 is for ever."""
        self._given = given
        self._engine = engine
        self._url = advertised
        self._clock = clock
        self._startup_timeout = startup_timeout
        self._course = Course(given, advertised, uuid4().hex[:16], rng.uniform)
        self._context = Context()
        self._lines = [
            Line(
                self._context,
                router,
                key_files[number] if key_files else None,
                clock,
                rng,
                interval=given.interval,
                greeting=self._course.hello,
                accepted=lambda router=router: self._on_accepted(router),  # type: ignore[misc]
            )
            for number, router in enumerate(routers)
        ]
        self._problem = "the engine has not been looked at yet"
        self._complaints = Complaints()
        self._doubts: list[str] = []
        self._stop = asyncio.Event()
        self._taken = asyncio.Event()
        self._due = asyncio.Event()
        self._why = ""

    async def run(self) -> int:
        """Announce until SIGTERM or SIGINT; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end, number.name)
        late = False
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(line.run()) for line in self._lines]
                tasks += [group.create_task(self._watch()), group.create_task(self._ping())]
                late = await self._is_too_late()
                if not late:
                    await self._stop.wait()
                await self._part()
                for task in tasks:
                    task.cancel()
        finally:
            self._context.destroy(linger=0)
        return int(late)

    def _end(self, why: str) -> None:
        self._why = why
        self._stop.set()

    async def _is_too_late(self) -> bool:
        """Wait until some router has the worker; whether none had it in time. False also when it is to end."""
        if not self._startup_timeout:
            return False
        waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._taken)]
        done, pending = await asyncio.wait(waits, timeout=self._startup_timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if done:
            return False
        problems = [self._problem] if self._problem else [f"{one.router}: {one.problem}" for one in self._lines]
        log.error("not registered after %g s: %s", self._startup_timeout, "; ".join(problems))
        self._why = "not registered in time"
        return True

    # --- the engine ------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            self._take(await self._engine.look())
            await asyncio.sleep(WATCH)

    def _take(self, look: Look) -> None:
        now = self._clock.monotonic()
        if look.standing == "serves" and look.facts is not None:
            if self._problem and self._complaints.is_due(f"{self._url} serves", now):
                log.info("the engine serves: announcing %s", self._url)
            self._problem = ""
            if (found := doubts(self._given, look.facts)) != self._doubts:
                self._doubts = found
                for doubt in found:
                    log.warning("%s", doubt)
            self._say(self._course.seen(look.facts, now=now, wall=self._clock.wall()))
            self._due.set()
            return
        self._problem = f"the engine: {look.reason}"
        if look.standing == "gone":
            what = "the engine is gone" if self._course.is_announced else "waiting for the engine"
            self._say(self._course.gone(f"the engine is gone: {look.reason}"))
        else:
            what = "the engine is not well" if self._course.is_announced else "waiting for the engine"
        if self._complaints.is_due(f"{what} ({look.reason})", now):
            log.warning("%s (%s)", what, look.reason)

    # --- the routers -----------------------------------------------------------------------------------------

    async def _ping(self) -> None:
        while True:
            self._say(self._course.ping(now=self._clock.monotonic()))
            self._due.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._course.pause(now=self._clock.monotonic())):
                    await self._due.wait()

    def _say(self, message: FromEngine | None) -> None:
        if message is not None:
            for line in self._lines:
                line.send(message)

    def _on_accepted(self, router: TcpAddress) -> None:
        log.info("registered at %s", router)
        if not self._taken.is_set():
            self._taken.set()
            # Whoever read our standard output may have gone.
            with suppress(OSError):
                print(f"ready: {self._url} is registered at {router}", flush=True)

    async def _part(self) -> None:
        message = self._course.gone(self._why)
        self._say(message)
        if isinstance(message, Goodbye):
            heard = await asyncio.gather(*(line.answered(message.seq, FAREWELL) for line in self._lines))
            log.info("%s: said goodbye; %d of %d routers have answered", self._why, sum(heard), len(heard))
