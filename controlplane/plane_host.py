"""The supervisor of a host that has planes and no control plane: keeps N planes running, and ends them in order.

It is the small sister of `controlplane.supervisor`, with the same processes, records and pauses: planes outlive it, and
the next one on the folder adopts them. Keys and tables are the planes' own business.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial

import msgspec

from controlplane.children import Plane, Spawner, forget_all_but, forget_plane
from controlplane.inquiry import plane_status, tell_retired
from controlplane.keeping import mourned, spawned
from controlplane.opening import EarlySignals
from controlplane.preflight import Survey
from controlplane.supervision import has_table, plan_planes
from controlplane.supervisor import ASK_TIMEOUT, KILL_MARGIN, PATIENCE, POLL, SLOW_POLL
from controlplane.watched import Watched
from shared.clock import Clock, SystemClock
from shared.config import StartConfig, join_address
from shared.messages import PlaneStatus
from shared.process import own_record, tell_stopping
from shared.runtime_dir import RuntimeDir, read_record, write_atomically, write_record
from shared.sockets import Context
from shared.uplink import Uplink, remote_fingerprint

log = logging.getLogger("supervisor")


def prepare(runtime: RuntimeDir, config: StartConfig, uplink: Uplink, found: Survey) -> None:
    """Write down what planes start from. Raises OSError."""
    before = read_record(runtime.uplink, Uplink)
    forget_all_but(runtime, {record.identity.id for record, _ in found.planes})
    if before is None or before.address != uplink.address:
        # The table of another router.
        runtime.table.unlink(missing_ok=True)
    write_record(runtime.uplink, uplink)
    write_atomically(runtime.config, msgspec.json.encode(config))
    write_record(runtime.supervisor, own_record())


class PlaneHost:
    """Runs planes from the first to the last. Lives in one event loop and one `run`."""

    def __init__(
        self,
        config: StartConfig,
        runtime: RuntimeDir,
        uplink: Uplink,
        spawner: Spawner,
        found: Survey,
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._uplink = uplink
        self._spawner = spawner
        self._plan = plan_planes(
            (record for record, _ in found.planes), remote_fingerprint(config, uplink), config.data_planes
        )
        self._found = {record.identity.id: plane for record, plane in found.planes}
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic()
        self._watched: dict[str, Watched] = {}
        self._slots: dict[int, Plane] = {}
        self._killed = False
        self._predecessors: dict[int, str] = {}

    async def run(self, early: EarlySignals) -> int:
        """Supervise until a signal; return the exit code."""
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        # There is nothing to reload here, and a terminal that closes must not end what serves.
        loop.add_signal_handler(
            signal.SIGHUP, log.info, "SIGHUP: nothing to reload; key files are read when they change"
        )
        for number in early.caught:
            if number != signal.SIGHUP:
                self._on_signal(number)
        self._context = Context()
        try:
            async with asyncio.TaskGroup() as group:
                duties = [group.create_task(duty) for duty in self._duties()]
                await self._stop.wait()
                tell_stopping(self._runtime)
                for task in duties:
                    task.cancel()
            return await self._close()
        finally:
            self._context.destroy(linger=0)

    def _duties(self) -> list[Coroutine[None, None, None]]:
        # All that run are watched before the first await: a signal may be waiting already.
        plan = self._plan
        self._predecessors = {slot: record.identity.id for slot, record in plan.replace.items()}
        adopted = {slot: self._watch(self._found[record.identity.id]) for slot, record in plan.adopt.items()}
        others = [*plan.replace.values(), *plan.stop]
        old = {record.identity.id: self._watch(self._found[record.identity.id]) for record in others}
        for slot, record in plan.adopt.items():
            self._slots[slot] = self._found[record.identity.id]
        return [
            *(self._keep(slot, adopted.get(slot)) for slot in range(self._config.data_planes)),
            self._announce(old),
        ]

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._stop.is_set():
            log.info("%s: stopping; a second signal kills at once", number.name)
            self._stop.set()
            return
        log.warning("%s again: killing everything", number.name)
        self._killed = True
        for watched in self._watched.values():
            watched.send(signal.SIGKILL)

    # --- keeping planes --------------------------------------------------------------------------------------

    async def _keep(self, slot: int, watched: Watched | None) -> None:
        deaths = 0
        if watched is not None:
            log.info("adopted %s", watched.name)
        while True:
            if watched is None:
                # The one before it has the clients' queue that it takes over.
                after = self._predecessors.pop(slot, None)
                plane = await spawned(partial(self._spawner.plane, slot, after), "a plane")
                watched = self._watch(plane)
                self._slots[slot] = plane
                log.info("started %s", watched.name)
            await watched.wait()
            ended, watched = watched, None
            deaths = await mourned(ended, deaths)

    def _watch(self, plane: Plane) -> Watched:
        plane_id = plane.identity.id

        def forget() -> None:
            del self._watched[plane_id]
            forget_plane(self._runtime, plane_id)

        watched = self._watched[plane_id] = Watched(plane.process, str(plane), self._clock, forget)
        return watched

    # --- becoming ready --------------------------------------------------------------------------------------

    async def _announce(self, old: dict[str, Watched]) -> None:
        """Say when all planes serve; then end those that ran with other settings."""
        complain_at = PATIENCE
        while None in (serving := await self._serving()):
            age = self._clock.monotonic() - self._began
            if age >= complain_at:
                log.warning(
                    "not ready after %.0f s: waiting for a table from %s; does its control plane run with "
                    "--control-bind, has it this plane's public key, and is --server-key its own?",
                    age,
                    self._uplink.address,
                )
                complain_at += max(PATIENCE, complain_at)
            await asyncio.sleep(POLL if age < PATIENCE else SLOW_POLL)
        url = f"http://{join_address(self._config.host, self._config.port)}"
        noun = "plane" if len(serving) == 1 else "planes"
        # Whoever read our standard output may have gone.
        with suppress(OSError):
            print(f"ready: {url} ({len(serving)} {noun} of {self._uplink.address})", flush=True)
        if old:
            log.info("%d planes run with other settings or of another version: ending them", len(old))
            await asyncio.gather(*(self._retire(plane_id, watched) for plane_id, watched in old.items()))

    async def _retire(self, plane_id: str, watched: Watched) -> None:
        await tell_retired(self._context, self._runtime, plane_id, timeout=ASK_TIMEOUT)
        await watched.end(self._config.longest_stop + KILL_MARGIN)

    async def _serving(self) -> list[PlaneStatus | None]:
        """Return how the planes are that listen with a table; None for each of the others."""
        found: list[PlaneStatus | None] = []
        for slot in range(self._config.data_planes):
            plane, status = self._slots.get(slot), None
            if plane is not None:
                status = await plane_status(self._context, self._runtime, plane.identity.id, timeout=ASK_TIMEOUT)
            found.append(status if has_table(status, None) else None)
        return found

    async def _close(self) -> int:
        grace = self._config.longest_stop + KILL_MARGIN
        clean = await asyncio.gather(*(plane.end(grace) for plane in list(self._watched.values())))
        self._runtime.supervisor.unlink(missing_ok=True)
        if not all(clean) and not self._killed:
            log.warning("%d of %d planes did not end in time and were killed", clean.count(False), len(clean))
        log.info("stopped")
        return int(self._killed or not all(clean))
