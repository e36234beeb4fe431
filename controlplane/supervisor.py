"""The supervisor's loop: keeps one control plane and N planes running, says when they are ready, ends them.

The control plane and each slot (`controlplane.slot`) have a keeper, a task that waits for a death and starts the next
process. What to do is decided in `controlplane.supervision`; the first ones were started by `controlplane.opening`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass

from controlplane.children import Plane, Process, Spawner, forget_plane
from controlplane.events.event import about
from controlplane.inquiry import control_status, plane_status, tell_retired
from controlplane.keeping import mourned, spawned, tell_strays
from controlplane.opening import EarlySignals, Opening
from controlplane.pulse import Pulse
from controlplane.roll import Roll
from controlplane.slot import Occupant, Slot
from controlplane.supervision import START_PATIENCE, has_table, missing_for_ready, ready_line, why_replaced
from controlplane.supervisor_socket import SupervisorSocket
from controlplane.watched import Watched
from shared.clock import Clock, SystemClock
from shared.config import StartConfig, join_address, scheme
from shared.messages import ControlStatus
from shared.process import tell_stopping
from shared.runtime_dir import RuntimeDir
from shared.sockets import Context

POLL = 0.03
"""Seconds between looks at what is starting: a person does not notice them, and a core hardly."""
SLOW_POLL = 0.25
"""The same once it has taken `PATIENCE` seconds: something is wrong or loads for minutes."""
PATIENCE = 10.0
ASK_TIMEOUT = 0.5
CONTROL_PLANE_GRACE = 2.0
"""Seconds: it holds no requests, only figures to write out."""
KILL_MARGIN = 1.0
"""Seconds that a plane has beyond its own grace time, to end by itself what it cuts off."""
EXIT_USAGE = 2

log = logging.getLogger("supervisor")


@dataclass(frozen=True)
class Ending:
    """Why the supervisor ends. After a failed start, planes that served before it are left as they were."""

    code: int
    leaves_adopted: bool = False


class Supervisor:
    """Runs a router from its opening to its end. Lives in one event loop and one `run`."""

    def __init__(
        self,
        config: StartConfig,
        runtime: RuntimeDir,
        spawner: Spawner,
        opening: Opening,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._spawner = spawner
        self._opening = opening
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic()
        self._control_plane: Watched | None = None
        self._planes: dict[str, Watched] = {}
        self._slots: dict[int, Slot] = {}
        self._roll = Roll(self._slots, self._clock)
        self._is_ready = False
        self._killed = False

    async def run(self, early: EarlySignals) -> int:
        """Supervise until a signal or a failed start; return the exit code."""
        loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[Ending] = loop.create_future()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._ask_reload)
        for number in early.caught:
            if number != signal.SIGHUP:
                self._on_signal(number)
        self._context = Context()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._duties: set[asyncio.Task[None]] = set()
                self._begin()
                if signal.SIGHUP in early.caught:
                    self._ask_reload()
                ending = await self._ending
                tell_stopping(self._runtime)
                for duty in self._duties:
                    duty.cancel()
            return await self._close(ending)
        finally:
            self._context.destroy(linger=0)

    def _begin(self) -> None:
        # All of them are watched before the first await: a signal may be waiting already.
        opening = self._opening
        if opening.predecessor is not None:
            log.info("ending the control plane of an earlier supervisor (pid %d)", opening.predecessor.pid)
            self._control_plane = Watched(opening.predecessor, "the earlier control plane", self._clock)
        if opening.control_plane is not None:
            self._control_plane = self._watch_control_plane(opening.control_plane)
        for number, plane in opening.planes.items():
            slot = self._slots[number] = Slot(number, self)
            self._do(slot.keep(self._occupy(slot, plane), asyncio.Event()))
        tell_strays(opening.strays)
        turns = {number: asyncio.Event() for number in sorted(opening.outdated)}
        queue = [*turns.values(), asyncio.Event()]
        queue[0].set()
        for (number, turn), following in zip(turns.items(), queue[1:], strict=True):
            slot = self._slots[number] = Slot(number, self)
            # An old plane that dies by itself is not waited for.
            outdated = opening.outdated[number]
            slot.outdated = self._occupy(slot, outdated, turn.set)
            self._do(self._keep_slot(slot, outdated, turn, following))
        for plane in opening.surplus:
            log.info("%s is one more than --data-planes %d: stopping it", plane, self._config.data_planes)
            self._do(self._retire(Occupant(plane, self._watch(plane))))
        self._do(self._keep_control_plane(self._control_plane))
        self._do(self._announce())
        pulse = Pulse(
            self._context,
            self._runtime,
            self._slots,
            lambda: self._control_plane,
            limit=self._config.hung_plane_secs,
            patience=START_PATIENCE,
            clock=self._clock,
        )
        self._do(pulse.run())
        self._do(SupervisorSocket(self._context, self._runtime, self._roll.restart).run())

    def _do(self, duty: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(duty)
        self._duties.add(task)
        task.add_done_callback(self._duties.discard)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._ending.done():
            log.info("%s: stopping; a second signal kills at once", number.name, extra=about("process"))
            self._ending.set_result(Ending(0))
            return
        log.warning("%s again: killing everything", number.name, extra=about("process"))
        self._killed = True
        for watched in self._to_end(self._ending.result()):
            watched.send(signal.SIGKILL)

    def _ask_reload(self) -> None:
        if self._control_plane is None or not self._control_plane.is_alive:
            log.warning("SIGHUP: there is no control plane at this moment to reload anything; send it again")
            return
        log.info("SIGHUP: the control plane reloads the configuration")
        self._control_plane.send(signal.SIGHUP)

    def _give_up(self, code: int, reason: str) -> None:
        if not self._ending.done():
            log.error("%s", reason)
            self._ending.set_result(Ending(code, leaves_adopted=True))

    # --- keeping processes -------------------------------------------------------------------------------

    async def _keep_control_plane(self, watched: Watched | None) -> None:
        deaths: int | None = 0
        if self._opening.predecessor is not None and watched is not None:
            await watched.end(CONTROL_PLANE_GRACE)
            watched = None
        while deaths is not None:
            if watched is None:
                process = await spawned(self._spawner.control_plane, "a process")
                watched = self._control_plane = self._watch_control_plane(process)
            log.info("started the %s", watched.name, extra=about("process", watched.name))
            await watched.wait()
            deaths = await self.mourn(watched, deaths)
            watched = None

    async def settle(self, slot: Slot, after: Occupant | None) -> Occupant:
        """Start a plane for the slot, which continues another one's work; however often the system refuses."""
        plane_id = after.id if after is not None else None
        plane = await spawned(lambda: self._spawner.plane(slot.number, plane_id), "a process")
        return self._occupy(slot, plane)

    async def until_serving(self, occupant: Occupant) -> bool:
        """Wait until it serves; False when it died before."""
        while occupant.is_alive:
            status = await plane_status(self._context, self._runtime, occupant.id, timeout=ASK_TIMEOUT)
            if has_table(status, None):
                return True
            await self._pause()
        return False

    def retire(self, occupant: Occupant, *, is_hung: bool = False) -> None:
        """Have it end: by request with its grace time, or at once when it is hung."""
        if is_hung:
            occupant.watched.kill()
        else:
            self._do(self._retire(occupant))

    async def _keep_slot(self, slot: Slot, outdated: Plane, turn: asyncio.Event, following: asyncio.Event) -> None:
        """Keep a slot whose first plane is one of ours that replaces an outdated one, when its turn comes."""
        await turn.wait()
        why = why_replaced(outdated.identity.id, {stray.identity.id for stray in self._opening.strays})
        log.info("%s %s: replacing it", outdated, why, extra=about("process", outdated))
        await slot.keep(await self.settle(slot, slot.elder), following)

    def _watch_control_plane(self, process: Process) -> Watched:
        return Watched(process, f"control plane (pid {process.pid})", self._clock)

    def _occupy(self, slot: Slot, plane: Plane, on_end: Callable[[], None] | None = None) -> Occupant:
        return Occupant(plane, self._watch(plane, on_end or slot.moved))

    def _watch(self, plane: Plane, on_end: Callable[[], None] | None = None) -> Watched:
        plane_id = plane.identity.id

        def forget() -> None:
            del self._planes[plane_id]
            forget_plane(self._runtime, plane_id)
            if on_end is not None:
                on_end()

        watched = self._planes[plane_id] = Watched(plane.process, str(plane), self._clock, forget)
        return watched

    async def mourn(self, watched: Watched, deaths: int) -> int | None:
        """Tell of a death and wait before the next life; None when there is to be none, else the new count."""
        if watched.code == EXIT_USAGE and not self._is_ready:
            self._give_up(EXIT_USAGE, f"{watched.name} refuses its configuration, as it says above")
            return None
        return await mourned(watched, deaths)

    async def _retire(self, occupant: Occupant) -> None:
        watched = occupant.watched
        await tell_retired(self._context, self._runtime, occupant.id, timeout=ASK_TIMEOUT)
        if not watched.is_alive:
            told = about("process", watched.name)
            log.error("%s %s before it was told to", watched.name, watched.cause, extra=told)
            return
        clean = await watched.end(self._config.longest_stop + KILL_MARGIN)
        log.info("%s %s", watched.name, "has ended" if clean else "did not end in time and was killed")

    # --- becoming ready ----------------------------------------------------------------------------------

    async def _pause(self) -> None:
        await asyncio.sleep(POLL if self._age < PATIENCE else SLOW_POLL)

    @property
    def _age(self) -> float:
        return self._clock.monotonic() - self._began

    async def _announce(self) -> None:
        complain_at = PATIENCE
        while True:
            control, missing = await self._look()
            if control is not None and missing is None:
                break
            if self._is_refused(control) or self._is_too_late(control):
                return
            if self._age >= complain_at:
                log.warning("not ready after %.0f s: waiting for %s", self._age, missing)
                complain_at += max(PATIENCE, complain_at)
            await self._pause()
        self._is_ready = True
        url = f"{scheme(self._config.tls_cert)}://{join_address(self._config.host, self._config.port)}"
        # Whoever read our standard output may have gone.
        with suppress(OSError):
            print(ready_line(url, control, self._config.data_planes), flush=True)

    async def _look(self) -> tuple[ControlStatus | None, str | None]:
        """Return the control plane's status, and what the router still waits for (None: nothing)."""
        planes = [
            await plane_status(self._context, self._runtime, slot.current.id, timeout=ASK_TIMEOUT)
            if slot.current is not None and slot.is_serving
            else None
            for _, slot in sorted(self._slots.items())
        ]
        # After them: else it may tell of no ready worker where planes have heard of one since.
        control = await control_status(self._context, self._runtime, timeout=ASK_TIMEOUT)
        return control, missing_for_ready(control, planes, needs_worker=bool(self._config.all_urls))

    def _is_refused(self, control: ControlStatus | None) -> bool:
        """Whether planes can not serve by the configuration: at a first start nobody is served by another one."""
        if not self._opening.is_first_start or control is None or not control.refused:
            return False
        self._give_up(1, f"a plane can not serve by this configuration: {control.refused}")
        return True

    def _is_too_late(self, control: ControlStatus | None) -> bool:
        limit = self._config.worker_startup_timeout_secs
        if not self._opening.is_first_start or not self._config.all_urls or self._age < limit:
            return False
        if control is not None and control.ready_workers:
            return False
        urls = ", ".join(self._config.all_urls[:5]) + (", ..." if len(self._config.all_urls) > 5 else "")
        self._give_up(
            1,
            f"no worker became ready within {limit} s (--worker-startup-timeout-secs): {urls}; check that they run "
            f"and answer GET {self._config.health_check_endpoint} with 200",
        )
        return True

    # --- ending ------------------------------------------------------------------------------------------

    def _planes_to_end(self, ending: Ending) -> list[Watched]:
        return [plane for plane in self._planes.values() if plane.is_own_child or not ending.leaves_adopted]

    def _to_end(self, ending: Ending) -> list[Watched]:
        control = [self._control_plane] if self._control_plane is not None else []
        return [*self._planes_to_end(ending), *control]

    async def _close(self, ending: Ending) -> int:
        planes = self._planes_to_end(ending)
        grace = self._config.longest_stop + KILL_MARGIN
        clean = await asyncio.gather(*(plane.end(grace) for plane in planes))
        # The control plane goes last: the planes' last figures are for it.
        if self._control_plane is not None:
            clean.append(await self._control_plane.end(CONTROL_PLANE_GRACE))
        self._runtime.control_plane.unlink(missing_ok=True)
        self._runtime.supervisor.unlink(missing_ok=True)
        for left in self._planes.values():
            log.warning("%s goes on as before; the next `routerctl start` here adopts it", left.name)
        if not all(clean) and not self._killed:
            log.warning("%d of %d processes did not end in time and were killed", clean.count(False), len(clean))
        log.info("stopped", extra=about("process"))
        return ending.code or int(self._killed or not all(clean))
