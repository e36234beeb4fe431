"""The supervisor of a host that has planes and no control plane: keeps N planes running, and ends them in order.

It is the small sister of `controlplane.supervisor`, with the same processes, records, slots and pauses: planes outlive
it, and the next one on the folder adopts them. Keys and tables are the planes' own business. Certificates of their port
are its own, as the control plane does not see this host's files.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from controlplane.certificates import Certificates
from controlplane.children import Plane, Spawner, forget_all_but, forget_plane
from controlplane.inquiry import plane_status, tell_retired
from controlplane.keeping import mourned, spawned, tell_strays
from controlplane.opening import EarlySignals
from controlplane.preflight import Survey, note_strays
from controlplane.pulse import Pulse
from controlplane.roll import Roll
from controlplane.slot import Occupant, Slot
from controlplane.supervision import START_PATIENCE, has_table, plan_planes
from controlplane.supervisor import ASK_TIMEOUT, KILL_MARGIN, PATIENCE, POLL, SLOW_POLL
from controlplane.watched import Watched
from shared.clock import Clock, SystemClock
from shared.config import StartConfig, join_address, scheme
from shared.messages import PlaneStatus
from shared.process import living_planes, own_record, tell_stopping
from shared.runtime_dir import RuntimeDir, read_record, write_atomically, write_record
from shared.server_tls import server_tls
from shared.sockets import Context
from shared.uplink import Uplink, remote_fingerprint

log = logging.getLogger("supervisor")


def prepare(runtime: RuntimeDir, config: StartConfig, uplink: Uplink, found: Survey) -> None:
    """Write down what planes start from. Raises OSError."""
    before = read_record(runtime.uplink, Uplink)
    forget_all_but(runtime, {record.identity.id for record, _ in found.planes})
    note_strays(runtime, found)
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
        self._strays = [plane for _, plane in found.strays]
        self._found = {record.identity.id: plane for record, plane in found.planes}
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic()
        self._watched: dict[str, Watched] = {}
        self._slots: dict[int, Slot] = {}
        self._roll = Roll(self._slots, self._clock)
        self._killed = False

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
                self._group = group
                self._duties: set[asyncio.Task[None]] = set()
                self._begin()
                await self._stop.wait()
                tell_stopping(self._runtime)
                for duty in self._duties:
                    duty.cancel()
            return await self._close()
        finally:
            self._context.destroy(linger=0)

    def _begin(self) -> None:
        # All that run are watched before the first await: a signal may be waiting already.
        plan = self._plan
        tell_strays(self._strays)
        surplus = [self._occupy(None, self._found[record.identity.id]) for record in plan.stop]
        for number in range(self._config.data_planes):
            slot = self._slots[number] = Slot(number, self)
            adopted, outdated = plan.adopt.get(number), plan.replace.get(number)
            if outdated is not None:
                slot.outdated = self._occupy(slot, self._found[outdated.identity.id])
            first = self._occupy(slot, self._found[adopted.identity.id]) if adopted is not None else None
            self._do(self._keep(slot, first))
        self._do(self._announce(surplus))
        pulse = Pulse(
            self._context,
            self._runtime,
            self._slots,
            lambda: None,
            limit=self._config.hung_plane_secs,
            patience=START_PATIENCE,
            clock=self._clock,
        )
        self._do(pulse.run())
        if (tls := server_tls(self._config)) is not None:
            self._do(Certificates(tls, self._started, self._roll.restart).run())

    def _do(self, duty: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(duty)
        self._duties.add(task)
        task.add_done_callback(self._duties.discard)

    def _started(self) -> list[float]:
        """When each plane that runs was started, in Unix seconds."""
        return [record.identity.started for record in living_planes(self._runtime)]

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

    async def _keep(self, slot: Slot, first: Occupant | None) -> None:
        await slot.keep(first or await self.settle(slot, slot.elder), asyncio.Event())

    async def settle(self, slot: Slot, after: Occupant | None) -> Occupant:
        """Start a plane for the slot, which continues another one's work; however often the system refuses."""
        plane_id = after.id if after is not None else None
        return self._occupy(slot, await spawned(partial(self._spawner.plane, slot.number, plane_id), "a plane"))

    async def until_serving(self, occupant: Occupant) -> bool:
        """Wait until it serves; False when it died before."""
        while occupant.is_alive:
            if has_table(await self._status(occupant), None):
                return True
            await self._pause()
        return False

    async def mourn(self, watched: Watched, deaths: int) -> int:
        """Tell of a death and wait before the next life; return the new count of them."""
        return await mourned(watched, deaths)

    def retire(self, occupant: Occupant, *, is_hung: bool = False) -> None:
        """Have it end: by request with its grace time, or at once when it is hung."""
        if is_hung:
            occupant.watched.kill()
        else:
            self._do(self._retire(occupant))

    async def _retire(self, occupant: Occupant) -> None:
        await tell_retired(self._context, self._runtime, occupant.id, timeout=ASK_TIMEOUT)
        await occupant.watched.end(self._config.longest_stop + KILL_MARGIN)

    def _occupy(self, slot: Slot | None, plane: Plane) -> Occupant:
        plane_id = plane.identity.id

        def forget() -> None:
            del self._watched[plane_id]
            forget_plane(self._runtime, plane_id)
            if slot is not None:
                slot.moved()

        watched = self._watched[plane_id] = Watched(plane.process, str(plane), self._clock, forget)
        return Occupant(plane, watched)

    async def _status(self, occupant: Occupant) -> PlaneStatus | None:
        return await plane_status(self._context, self._runtime, occupant.id, timeout=ASK_TIMEOUT)

    # --- becoming ready --------------------------------------------------------------------------------------

    @property
    def _age(self) -> float:
        return self._clock.monotonic() - self._began

    async def _pause(self) -> None:
        await asyncio.sleep(POLL if self._age < PATIENCE else SLOW_POLL)

    async def _announce(self, surplus: Sequence[Occupant]) -> None:
        """Say when all planes serve; then end those that are too many."""
        complain_at = PATIENCE
        while not all(slot.is_serving for slot in self._slots.values()):
            if self._age >= complain_at:
                log.warning(
                    "not ready after %.0f s: waiting for a table from %s; does its control plane run with "
                    "--control-bind, has it this plane's public key, and is --server-key its own?",
                    self._age,
                    self._uplink.address,
                )
                complain_at += max(PATIENCE, complain_at)
            await self._pause()
        url = f"{scheme(self._config.tls_cert)}://{join_address(self._config.host, self._config.port)}"
        noun = "plane" if len(self._slots) == 1 else "planes"
        # Whoever read our standard output may have gone.
        with suppress(OSError):
            print(f"ready: {url} ({len(self._slots)} {noun} of {self._uplink.address})", flush=True)
        for occupant in surplus:
            log.info("%s is one more than --data-planes %d: stopping it", occupant, self._config.data_planes)
            self.retire(occupant)

    async def _close(self) -> int:
        grace = self._config.longest_stop + KILL_MARGIN
        clean = await asyncio.gather(*(plane.end(grace) for plane in list(self._watched.values())))
        self._runtime.supervisor.unlink(missing_ok=True)
        if not all(clean) and not self._killed:
            log.warning("%d of %d planes did not end in time and were killed", clean.count(False), len(clean))
        log.info("stopped")
        return int(self._killed or not all(clean))
