"""The control plane put together: who tells whom. What runs first is what planes and clients wait for."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from controlplane.admission.adapting import Adapting
from controlplane.admission.lender import Lender, haunted_until
from controlplane.breaker import Breakers, Transition
from controlplane.breaker_clock import turn_breakers
from controlplane.change_log import log_change
from controlplane.client_keys import ClientKeys
from controlplane.code_watch import CodeWatch
from controlplane.configuration import Configuration
from controlplane.discovery.discovery import Discovery
from controlplane.discovery.runtime import RuntimeMembers, configured
from controlplane.ejection import Ejections
from controlplane.ejector import Ejector
from controlplane.events.event import about
from controlplane.figures.ledger import Ledger
from controlplane.fleet_orders import obey
from controlplane.health import HealthRules
from controlplane.kv_events.index import KvIndex
from controlplane.lazy import load
from controlplane.loads import Loads
from controlplane.members_store import MembersStore, read_members
from controlplane.membership import Membership
from controlplane.outliers import OutlierRules
from controlplane.pairs import watch_pairs
from controlplane.planes import Plane, Planes
from controlplane.publication import Publication
from controlplane.publisher import Publisher
from controlplane.registry import Change, Registry
from controlplane.silent_planes import silence
from controlplane.supervisor_socket import restart_through
from controlplane.supervisor_watch import SupervisorWatch
from controlplane.table_builder import build, resolved, unresolved
from controlplane.worker_watch import WorkerWatch
from shared.adapters import SERVED_WITHIN, AdapterOrder, AdapterProblem, AdapterReport, AdapterVerb
from shared.breaker import BreakerRules
from shared.clock import Clock
from shared.config import StartConfig
from shared.config_pd import worker_fault
from shared.config_roles import described
from shared.config_settings import settings_of
from shared.logs import set_level
from shared.messages import Evidence, FleetVerb, ProbeNews
from shared.plane_identity import PlaneIdentity
from shared.probe_mark import mark_of
from shared.process import is_alive, living_planes
from shared.runtime_dir import PlaneRecord, ProcessRecord, RuntimeDir, read_record
from shared.sockets import Context
from shared.table import ModelCard, RoutingTable, Settings, Stamp, Worker
from shared.table_writer import TableWriter
from shared.worker_attributes import WorkerAttributes

if TYPE_CHECKING:
    from controlplane.cache_flush import Flushed
    from controlplane.remote_port import RemotePort

HTTP_MODULES = (
    "controlplane.admin",
    "controlplane.admin_token",
    "controlplane.http_ports",
    "controlplane.listener",
    "controlplane.metrics",
    "controlplane.status_report",
)
"""What the HTTP ports need: half a second of loading, which planes need not wait for."""

log = logging.getLogger(__name__)


class ControlPlane:
    """One life of the control plane."""

    def __init__(
        self,
        config: StartConfig,
        runtime: RuntimeDir,
        *,
        epoch: int,
        earlier_table: RoutingTable | None,
        is_first_start: bool,
        own: ProcessRecord,
        clock: Clock,
    ) -> None:
        """Prepare a control plane; `earlier_table` is what an earlier one published last."""
        self._config = config
        self._settings = settings_of(config)
        self._runtime = runtime
        self._is_first_start = is_first_start
        self._own = own
        self._clock = clock
        self._planes = Planes()
        self._loads = Loads()
        self._registry = Registry(HealthRules.of(config))
        now = clock.monotonic()
        alive = {record.identity.id: record.identity for record in living_planes(runtime)}
        self._planes.expect(alive, now)
        self._publication = Publication(epoch, settings_of(config))
        self._membership = Membership(
            self._registry,
            read_members(runtime, _members(config)),
            fleet=self,
            store=MembersStore(runtime),
            clock=clock,
            longest_request=config.request_timeout_secs,
            order=self._publication.table.stamp.order,
        )
        self._breakers = Breakers(BreakerRules.of(settings_of(config)), self._epoch_of, self._breaker_changed)
        self._breaker_moved = asyncio.Event()
        self._ejections = Ejections(OutlierRules.of(config))
        # What planes used that died before a first start is forgotten with them.
        haunted = now if is_first_start else haunted_until(alive.values(), config.data_planes, now, clock.wall())
        self._lender = Lender(epoch, alive, self._planes, clock, self.is_dead, haunted)
        self._adapting = Adapting(self._lender, self._planes, clock)
        self._ledger = Ledger(
            runtime, self._planes, self._publication, self._breakers, self._ejections, clock, self._lender.status
        )
        self._ledger.take_over(alive)
        if earlier_table is not None:
            self._registry.restore(earlier_table, now=now)
            self._breakers.restore(earlier_table.workers.values(), now=now, wall=clock.wall())
            self._ejections.restore(earlier_table.workers.values(), now=now, wall=clock.wall())
        self._client_keys = ClientKeys(config.client_keys_file, earlier_table)
        # Before any plane can ask: nobody is ever told of the empty table.
        self._publication.change(*self.content())
        self._writer = TableWriter(runtime)
        self._publisher: Publisher | None = None
        self._remote: RemotePort | None = None
        epochs = (epoch,) if earlier_table is None else (epoch, earlier_table.stamp.epoch)
        self._watch = WorkerWatch(config, self._registry, self._loads, self._planes, clock, mark=mark_of(epochs))
        self._kv = KvIndex(config)
        self._discovery = Discovery(config)
        self._ejector = Ejector(
            self._registry,
            self._planes,
            self._ejections,
            breaker_of=self._breakers.published,
            changed=self._worker_changed,
            clock=clock,
        )
        self.configuration = Configuration(runtime, self, clock, begins=is_first_start)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises what ended it otherwise, in an exception group."""
        context = self._context = Context()
        if self._config.control_bind is not None:
            from controlplane.remote_port import remote_port

            self._remote = remote_port(self._config, context, self._clock)
        publisher = self._publisher = Publisher(
            context,
            self._runtime,
            self._publication,
            self._planes,
            self._loads,
            self,
            self._clock,
            self._remote,
            self._kv.pages,
            self._lender,
        )
        if not self._registry.members() and not self._config.finds_workers:
            log.warning(
                "no worker is configured: every request is answered 503; name some with --worker-urls, or "
                "add them with `routerctl workers add URL`"
            )
        try:
            async with asyncio.TaskGroup() as group:
                self.published(self._publication.table)
                turning = turn_breakers(self._breakers, self._breaker_moved, self._planes, self._clock)
                watching = (watch_pairs(self._planes, self._clock), SupervisorWatch(self._runtime).run())
                restart = restart_through(context, self._runtime, self._config.data_planes)
                code = CodeWatch(self._runtime, self._own, restart, stop.set)
                tending = (turning, self._ejector.run(), self._adapting.run(), *watching)
                keeping = (self._writer.run(), self._ledger.run(), self._membership.run(), self.configuration.run())
                looking = (self._watch_workers(context, publisher), self._client_keys.run(publisher.changed))
                telling = (publisher.run(), self._lender.run(publisher), code.run())
                tasks = [group.create_task(one) for one in (*telling, *tending, *keeping, *looking)]
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._ledger.write()
            publisher.close()
            context.term()

    # --- what the publisher asks and tells (controlplane.publisher.Source) -------------------------------------

    def content(self) -> tuple[tuple[Worker, ...], tuple[ModelCard, ...], Settings]:
        """Return what the table should hold now."""
        planes = self._settings.data_planes + self._planes.elsewhere()
        members = self._registry.members()
        settings = resolved(self._settings, members)
        settings = msgspec.structs.replace(settings, data_planes=planes, client_keys=self._client_keys.present)
        return *build(members, self._breakers.published), settings

    def published(self, table: RoutingTable) -> None:
        """Keep a published table on disk."""
        self._writer.note(table)
        self._lender.use(table)
        self._adapting.use(table)

    def evidence(self, evidence: Evidence) -> None:
        """Count a failure against its worker; have a worker looked at that a plane could not reach."""
        if evidence.kind != "no-address":
            self._breakers.evidence(evidence, now=self._clock.monotonic(), wall=round(self._clock.wall(), 3))
        if evidence.kind not in ("bad-answer", "error-status"):
            self._watch.suspect(evidence.worker, evidence.worker_epoch)

    async def command(self, verb: FleetVerb, url: str, said: WorkerAttributes) -> tuple[str, str]:
        """Change the members, or empty their caches, for a plane's client."""
        return await obey(self._membership, self.flush_caches, self.order_adapters, verb, url, said)

    async def order_adapters(self, verb: AdapterVerb, order: AdapterOrder) -> AdapterReport | AdapterProblem:
        """Have all workers of a model load or unload an adapter, and all planes know of it."""
        from controlplane.adapters import Adapters

        adapters = Adapters(self._registry, self._watch.prober, self._watch.tls, self._watch.key)
        came = await adapters.order(verb, order)
        if isinstance(came, AdapterReport) and came.done and self._publisher is not None:
            await self._publisher.served(self._publisher.publish(), SERVED_WITHIN)
        return came

    async def flush_caches(self) -> Flushed:
        """Have every worker empty its prefix cache."""
        from controlplane.cache_flush import flush_caches

        urls = dict.fromkeys(member.worker.url for member in self._registry.members())
        return await flush_caches(urls, self._watch.tls, self._watch.key)

    def probe(self, news: ProbeNews) -> None:
        """Give a probe away, or take in how it went."""
        self._breakers.probe(news, now=self._clock.monotonic())

    def gone(self) -> None:
        """Keep what a plane counted that is gone."""
        self._ledger.write_soon()

    def is_dead(self, plane: PlaneIdentity) -> bool:
        """Whether the process of a plane here has ended. The supervisor removes the records of those that have."""
        record = read_record(self._runtime.plane(plane.id), PlaneRecord)
        return record is None or not is_alive(record.process)

    # --- what the membership asks and tells (controlplane.membership.Fleet) -----------------------------------

    def changed(self, changes: tuple[Change, ...]) -> tuple[int, int]:
        """Publish a change of the members, and look after those that came."""
        for change in changes:
            log_change(change)
        self._watch.follow()
        self._kv.follow()
        return self._publisher.publish() if self._publisher is not None else self._publication.table.stamp.order

    async def served(self, order: tuple[int, int], patience: float) -> bool:
        """Wait until every plane serves from the table of that order."""
        return self._publisher is not None and await self._publisher.served(order, patience)

    def refuses(self, said: WorkerAttributes) -> str | None:
        """Return why such a worker can not serve by the configuration in use."""
        return worker_fault(self._config, said)

    def is_idle(self, worker_id: str, order: tuple[int, int]) -> bool:
        """Whether no plane has had a request at the worker since that table."""
        return self._planes.is_complete(self._clock.monotonic()) and self._planes.is_idle(worker_id, order)

    def inflight_at(self, worker_id: str) -> int:
        """Return how many requests the planes have told of there."""
        return self._planes.inflight_at(worker_id)

    def silence_at(self, worker_id: str, order: tuple[int, int]) -> str:
        """Tell of the silent planes of which that is not known."""
        return silence(self._planes.silent_at(worker_id, order, self._clock.monotonic()))

    # --- breakers --------------------------------------------------------------------------------------------

    def _epoch_of(self, worker_id: str) -> int | None:
        worker = self._registry.worker(worker_id)
        return worker.epoch if worker is not None else None

    def _breaker_changed(self, transition: Transition | None) -> None:
        self._breaker_moved.set()
        if self._publisher is not None:
            self._publisher.changed()
        if transition is not None:
            level = logging.WARNING if transition.state == "open" else logging.INFO
            why = f": {transition.reason}" if transition.state == "open" else ""
            extra = about("breaker", transition.worker)
            log.log(level, "breaker of worker %s is %s%s", transition.worker, transition.state, why, extra=extra)

    # --- what a reload asks and does (controlplane.reload.Target) ----------------------------------------------

    def current(self) -> StartConfig:
        """Return the configuration in use."""
        return self._config

    def publish(self, config: StartConfig) -> None:
        """Have the planes told of a configuration's settings soon."""
        self._settings = settings_of(config)
        self._client_keys.use(config.client_keys_file)
        if self._publisher is not None:
            self._publisher.changed()

    def last_published(self) -> tuple[Settings, Stamp]:
        """Return what the planes were told last, without what only the fleet knows."""
        table = self._publication.table
        return unresolved(table.settings, self._settings, self._registry.members()), table.stamp

    def planes(self) -> tuple[Plane, ...]:
        """Return the planes that are heard of."""
        return self._planes.present()

    async def trial(self, plane_id: str, settings: Settings, patience: float) -> str | None:
        """Ask a plane whether it could serve by settings: why not, empty when it could, None when it is silent."""
        settings = resolved(settings, self._registry.members())
        return await self._publisher.questions.trial(plane_id, settings, patience) if self._publisher else None

    async def adopt(self, config: StartConfig) -> tuple[str, ...]:
        """Go by a configuration that the planes have confirmed; return warnings."""
        self._go_by(config)
        wanted = _members(config)
        is_everywhere = await self._membership.configure(wanted, longest_request=config.request_timeout_secs)
        return () if is_everywhere else ("a plane has not taken up the changed workers yet; it will when it answers",)

    def _go_by(self, config: StartConfig) -> None:
        self._config = config
        set_level(config.log_level)
        self._registry.use(HealthRules.of(config))
        self._ejections.rules = OutlierRules.of(config)
        self._breakers.use(BreakerRules.of(settings_of(config)))
        self._kv.use(config)
        self._watch.use(config)

    # --- workers and HTTP ------------------------------------------------------------------------------------

    def _worker_changed(self, change: Change) -> None:
        log_change(change)
        if self._publisher is not None:
            self._publisher.changed()
        self._watch.renewed(change)

    async def _watch_workers(self, context: Context, publisher: Publisher) -> None:
        # Planes get the table while the rest is being loaded.
        prober, scraper, tls = await self._watch.begin(
            self._ejector.outcomes.answered, publisher.loaded, self._worker_changed
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(prober.run())
            group.create_task(self._kv.run(context, self._registry, self._clock, publisher, tls))
            group.create_task(scraper.run())
            discovering = self._discovery.run(
                self._membership, self._registry, prober, self._clock, is_first_start=self._is_first_start
            )
            group.create_task(discovering)
            group.create_task(self._serve(publisher))

    async def _serve(self, publisher: Publisher) -> None:
        await load(*HTTP_MODULES)
        from controlplane.http_ports import Parts, serve

        parts = Parts(
            runtime=self._runtime,
            own=self._own,
            clock=self._clock,
            context=self._context,
            publisher=publisher,
            publication=self._publication,
            planes=self._planes,
            loads=self._loads,
            registry=self._registry,
            membership=self._membership,
            configuration=self.configuration,
            remote=self._remote.tally if self._remote is not None else None,
            flush_caches=self.flush_caches,
            order_adapters=self.order_adapters,
            kv=self._kv,
            discovery=self._discovery,
            ledger=self._ledger,
            lender=self._lender,
            client_keys=self._client_keys,
        )
        await serve(parts, self._config, is_first_start=self._is_first_start)


def _members(config: StartConfig) -> RuntimeMembers:
    return configured(config.all_urls, described(config), config.intra_node_data_parallel_size)
