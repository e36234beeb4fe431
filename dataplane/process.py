"""A plane: one process, one event loop, one granian server on the shared port."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import signal
import sys
import time
from collections.abc import Iterator

import msgspec
import setproctitle
import uvloop
import zmq.asyncio

from dataplane.access_log import AccessLog
from dataplane.accounting import Accounting
from dataplane.admission.reporting import report_leases
from dataplane.app import PlaneApplication
from dataplane.arrivals import Arrivals
from dataplane.client_connections import ClientConnections
from dataplane.descriptors import share_out
from dataplane.draining import Draining
from dataplane.fleet import Fleet
from dataplane.fleet_commands import FleetCommands
from dataplane.forward import Forwarder
from dataplane.gate import Gate
from dataplane.handover import Handover, take_over
from dataplane.kv.caches import KvCaches
from dataplane.kv.replica import Ask
from dataplane.loop_lag import LoopLag
from dataplane.needed_files import NeededFiles
from dataplane.placement import Placement
from dataplane.receipt_writing import receipt
from dataplane.remote_tables import RemoteTables
from dataplane.server import HttpServer
from dataplane.status_socket import StatusSocket
from dataplane.subscriber.client import SubscriberClient, load_last_known_good
from dataplane.subscriber.link import Link, LocalLink
from dataplane.tracing.exporter import Exporter
from dataplane.tracing.tracing import Telling, Tracing
from shared import catalog
from shared.clock import SystemClock
from shared.config import StartConfig
from shared.leases import LeaseGrant
from shared.log_output import LogOutput
from shared.logs import configure_logging, set_level
from shared.messages import FleetAnswer, PlaneStatus
from shared.own_folder import begin_in
from shared.own_record import OwnRecord
from shared.plane_fingerprint import plane_fingerprint
from shared.plane_identity import PlaneIdentity
from shared.plane_report import CounterReport, CounterSeries
from shared.process import own_record, raise_descriptor_limit
from shared.receipt import Receipt
from shared.request_lines import MAX_LINES, RequestLines
from shared.runtime_dir import PlaneRecord, RuntimeDir, RuntimeDirError
from shared.server_tls import server_tls
from shared.table import RoutingTable
from shared.traces_config import endpoint_url
from shared.uplink import Uplink, remote_fingerprint

logger = logging.getLogger(__name__)

_HOUSEKEEPING_INTERVAL = 1.0
# A request leaves few cycles behind, and the objects made at start live for ever: collect seldom.
_GC_THRESHOLDS = (20_000, 20, 50)


class Plane:
    """Puts the parts of a plane together and runs them until it is told to stop."""

    def __init__(
        self,
        runtime_dir: RuntimeDir,
        config: StartConfig,
        identity: PlaneIdentity,
        predecessor: str | None,
        uplink: Uplink | None,
        *,
        access: AccessLog,
        log: LogOutput,
    ) -> None:
        """`uplink` leads to a control plane on another host; None: it is on this one."""
        self._access = access
        self._log = log
        self._runtime_dir = runtime_dir
        self._config = config
        self._identity = identity
        self._predecessor = predecessor
        self._fingerprint = plane_fingerprint(config) if uplink is None else remote_fingerprint(config, uplink)
        self._accounting = Accounting()
        rng = random.Random()
        shares = share_out(raise_descriptor_limit())
        self._clients = ClientConnections(config.port, shares.clients)
        self._kv = KvCaches(rng, self._ask_kv)
        # Slots are counted on each host: those of another one begin their turns anywhere.
        turn = identity.slot if uplink is None else rng.randrange(1 << 16)
        self._fleet = Fleet(
            self._accounting,
            plane_slot=turn,
            plane=identity.id,
            rng=rng,
            connections=shares.workers,
            kv=self._kv,
        )
        self._remote = RemoteTables(runtime_dir) if uplink is not None else None
        self._subscriber = SubscriberClient(
            _link(runtime_dir, uplink, rng),
            identity,
            last_known_good=load_last_known_good(runtime_dir.table),
            refuse=self._refuse,
            on_table=self._adopt,
            on_stale=self._set_stale,
            on_load=self._fleet.take_load,
            on_plane_inflight=self._fleet.take_plane_inflight,
            inflight=lambda: (self._fleet.inflight(), self._fleet.prefill(), self._accounting.active),
            counters=self._counters,
            on_fleet_answer=self._take_fleet_answer,
            learnt=self._fleet.policy.learnt,
            on_plane_learnt=self._fleet.policy.hear,
            on_kv=self._kv.take,
            receipt=self._receipt,
            request_lines=self._request_lines,
            refuse_settings=self._fleet.refuse_settings,
            on_grant=self._take_grant,
            windows=lambda: self._forwarder.limits.windows(),
        )
        self._commands = FleetCommands(self._subscriber.send_command)
        self._forwarder = Forwarder(
            self._fleet,
            self._accounting,
            self._subscriber.report_evidence,
            rng,
            self._clients.cut_off,
            self._subscriber.report_probe,
            access,
            Tracing(rng, self._fleet.now(), self._tell_traces),
        )
        self._gate = Gate()
        self._arrivals = Arrivals(PlaneApplication(self._forwarder, self._commands, self._gate).handle)
        self._needed = NeededFiles(server_tls(config), self._fleet.worker_key)
        self._server = HttpServer(self._arrivals.announce, connections=shares.clients, tls=server_tls(config))
        self._is_replaced = False
        self._loop_lag = LoopLag(SystemClock())
        self._first_table = asyncio.Event()
        if self._subscriber.table is not None:
            self._adopt(self._subscriber.table)

    # --- parts speak to each other ---------------------------------------------------------------------

    def _refuse(self, table: RoutingTable) -> str | None:
        return Fleet.refuse(table) or (self._remote.refuse(table) if self._remote is not None else None)

    def _adopt(self, table: RoutingTable) -> None:
        if self._remote is not None:
            self._remote.keep(table)
        settings = table.settings
        set_level(settings.log_level)
        self._access.use(settings.access_log, settings.log_level, prompts=settings.log_prompts)
        self._forwarder.tracing.use(settings.otlp_traces_endpoint, settings.otel_sampling_ratio)
        self._fleet.adopt(table)
        self._gate.use(settings)
        self._accounting.know_keys(key.name for key in settings.client_keys or ())
        self._forwarder.follow(table)
        self._first_table.set()

    def _tell_traces(self, endpoint: str) -> Telling:
        return Exporter(endpoint_url(endpoint), f"plane {self._identity.label}", time.time() - self._fleet.now())

    def _take_grant(self, grant: LeaseGrant) -> None:
        self._forwarder.limits.take(grant)

    def _take_fleet_answer(self, answer: FleetAnswer) -> None:
        self._commands.take(answer)

    def _receipt(self, request_id: str) -> Receipt | None:
        try:
            record = self._forwarder.receipts.find(request_id.encode("latin-1"))
        except UnicodeEncodeError:
            # No header field can hold such an id.
            return None
        if record is None:
            return None
        age = asyncio.get_running_loop().time() - record.times[0]
        return receipt(record, plane=self._identity.label, arrived=round(time.time() - age, 3))

    def _request_lines(self, most: int, troubled: bool) -> RequestLines:
        return self._forwarder.request_lines(
            min(most, MAX_LINES), troubled=troubled, plane=self._identity.label, wall=time.time()
        )

    def _ask_kv(self, ask: Ask) -> bool:
        return self._subscriber.ask_kv(*ask)

    def _set_stale(self, stale: bool) -> None:
        if stale != self._fleet.stale:
            logger.log(
                logging.WARNING if stale else logging.INFO,
                "control plane is silent: serving from the last known table" if stale else "control plane is heard",
            )
        self._fleet.stale = stale

    def _counters(self, seq: int) -> CounterReport:
        table = self._subscriber.table
        now = self._fleet.now()
        heard = self._fleet.loads_heard
        return CounterReport(
            plane=self._identity,
            seq=seq,
            active=self._accounting.active,
            table=table.stamp if table is not None else None,
            table_age=self._subscriber.table_age,
            stale=self._fleet.stale,
            draining=self._forwarder.draining,
            waits_for=self._needed.waits_for,
            resyncs=self._subscriber.resyncs,
            inflight=self._fleet.inflight(),
            client_connections=self._clients.open,
            client_connection_limit=self._clients.limit,
            worker_connections=self._fleet.allowance.taken,
            kv_blocks=self._kv.replica.blocks,
            kv_resyncs=self._kv.replica.resyncs,
            load_age=None if heard is None else now - heard,
            retry_budget=self._forwarder.budget.left(now),
            counters=(*self._accounting.counter_series(), *self._counted_elsewhere()),
            histograms=(*self._accounting.histogram_series(), *self._loop_lag.series()),
            outcomes=self._fleet.outcomes(),
            lacks=self._fleet.policy.lacks(),
            pairs=self._fleet.pairs.report(now),
            exemplars=self._forwarder.tracing.exemplars.series(),
        )

    def _counted_elsewhere(self) -> Iterator[CounterSeries]:
        yield CounterSeries(catalog.LOG_LINES_DROPPED.name, (), self._log.dropped + self._access.dropped)
        for outcome, count in self._forwarder.tracing.counts.items():
            if count:
                yield CounterSeries(catalog.TRACES.name, (outcome,), count)

    def _status(self) -> PlaneStatus:
        table = self._subscriber.table
        return PlaneStatus(
            plane=self._identity,
            fingerprint=self._fingerprint,
            listening=self._server.listening and not self._forwarder.draining,
            table=table.stamp if table is not None else None,
            table_age=self._subscriber.table_age,
            heard_age=self._subscriber.heard_age,
            waits_for=self._needed.waits_for,
            workers=len(self._fleet.view.table.workers),
            ready_workers=len(self._fleet.view.ready),
            stale=self._fleet.stale,
            active=self._accounting.active,
            client_connections=self._clients.open,
            client_connection_limit=self._clients.limit,
            lacks=self._fleet.policy.lacks(),
            pairs=self._fleet.pairs.report(self._fleet.now()),
        )

    def _retire(self) -> None:
        self._is_replaced = True

    # --- life ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then until the open requests have ended or the grace time is over."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        # Before ZeroMQ and the server start their threads, which stay where this one is.
        placement = Placement(self._identity.slot) if self._config.plane_affinity == "core" else None
        context = zmq.asyncio.Context()
        path = self._runtime_dir.plane(self._identity.id)
        own = PlaneRecord(process=own_record(), identity=self._identity, fingerprint=self._fingerprint)
        record = OwnRecord(path, own)
        record.tend()
        status = StatusSocket(context, self._runtime_dir.plane_endpoint(self._identity.id), self._status, self._retire)
        try:
            async with asyncio.TaskGroup() as background:
                tasks = [
                    background.create_task(self._subscriber.run(context)),
                    background.create_task(status.run()),
                    background.create_task(record.run()),
                    background.create_task(self._housekeeping(placement)),
                    background.create_task(self._clients.run()),
                    background.create_task(self._loop_lag.run()),
                    background.create_task(report_leases(self._forwarder.limits, self._subscriber, self._identity)),
                ]
                if self._remote is not None:
                    tasks.append(background.create_task(self._remote.run()))
                await self._serve(stop)
                for task in tasks:
                    task.cancel()
        finally:
            self._forwarder.tracing.close()
            self._fleet.close()
            self._kv.close()
            context.destroy(linger=100)
            path.unlink(missing_ok=True)
            self._runtime_dir.plane_socket(self._identity.id).unlink(missing_ok=True)

    async def _serve(self, stop: asyncio.Event) -> None:
        """Listen once there is a table: a plane without one could only refuse."""
        stopped = asyncio.create_task(stop.wait())
        first_table = asyncio.create_task(self._first_table.wait())
        await asyncio.wait((stopped, first_table), return_when=asyncio.FIRST_COMPLETED)
        first_table.cancel()
        if stop.is_set():
            return
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        before = self._runtime_dir.plane_handover(self._predecessor) if self._predecessor else None
        if not await self._needed.usable(stop):
            return
        listener = await take_over(before, self._config.host, self._config.port)
        serving = asyncio.create_task(self._server.serve(listener))
        handover = Handover(self._runtime_dir.plane_handover(self._identity.id), listener)
        handover.open()
        await asyncio.wait((stopped, serving), return_when=asyncio.FIRST_COMPLETED)
        handover.close()
        if not stop.is_set():
            stopped.cancel()
            await serving
            raise RuntimeError("the HTTP server ended by itself")
        await Draining(self._server, listener, self._forwarder, self._arrivals, self._clients).run(
            serving,
            replaced=self._is_replaced,
            delay=self._config.drain_delay_secs,
            grace=self._config.shutdown_grace_secs,
        )
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    async def _housekeeping(self, placement: Placement | None) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_INTERVAL)
            self._fleet.reap()
            self._arrivals.take_late()
            self._forwarder.expire()
            self._forwarder.tracing.tend()
            if placement is not None:
                placement.adjust()


def _link(runtime_dir: RuntimeDir, uplink: Uplink | None, rng: random.Random) -> Link:
    if uplink is None:
        return LocalLink(runtime_dir)
    # Only for those who use it: it loads what reads key files.
    from dataplane.subscriber.remote_link import RemoteLink

    return RemoteLink(uplink, SystemClock(), rng)


def run(runtime_dir: RuntimeDir, *, slot: int, plane_id: str, predecessor: str | None, is_remote: bool) -> int:
    """Run a plane from the configuration in the runtime folder; return the exit code.

    `predecessor` is the id of the plane that it replaces, and whose listening socket it takes over. One that
    `is_remote` reads in the folder, too, where its control plane is.
    """
    name = f"plane {slot}"
    try:
        config = begin_in(runtime_dir)
    except RuntimeDirError as error:
        print(f"routerctl: {name}: {error}", file=sys.stderr)
        return 2
    output = configure_logging(name, config.log_level, log_format=config.log_format, folder=config.log_dir)
    setproctitle.setproctitle(f"routerctl: plane {slot} ({config.host}:{config.port})")
    own = own_record()
    uplink = msgspec.json.decode(runtime_dir.uplink.read_bytes(), type=Uplink) if is_remote else None
    identity = PlaneIdentity(
        id=plane_id,
        slot=slot,
        pid=own.pid,
        version=own.version,
        started=time.time(),
        host=uplink.name if uplink is not None else "",
        wire=own.wire,
    )

    async def main() -> None:
        access = AccessLog(asyncio.get_running_loop(), name, output)
        plane = Plane(runtime_dir, config, identity, predecessor, uplink, access=access, log=output)
        try:
            await plane.run()
        finally:
            access.flush()

    uvloop.run(main())
    return 0
