"""The control plane's two HTTP ports: the admin API, and Prometheus' metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from controlplane.admin import admin_application, prometheus_application
from controlplane.admin_adapters import OrderAdapters
from controlplane.admin_token import TokenFile
from controlplane.admission.lender import Lender
from controlplane.cache_flush import Flushed
from controlplane.certificates import Certificates
from controlplane.client_keys import ClientKeys
from controlplane.configuration import Configuration
from controlplane.discovery.discovery import Discovery
from controlplane.figures.ledger import Ledger
from controlplane.figures.traffic import Figures
from controlplane.kv_events.index import KvIndex
from controlplane.listener import Listener
from controlplane.loads import Loads
from controlplane.membership import Membership
from controlplane.metrics import Refused, RouterCollector
from controlplane.page.live import Live
from controlplane.planes import Planes
from controlplane.publication import Publication
from controlplane.publisher import Publisher
from controlplane.registry import Registry
from controlplane.remote_tally import Tally
from controlplane.status_builder import build_report
from controlplane.status_report import StatusReport
from controlplane.supervisor_socket import restart_through
from shared.clock import Clock
from shared.config import ADMIN_TLS_FILES, PROMETHEUS_TLS_FILES, StartConfig
from shared.process import has_ended, is_alive, living_planes
from shared.runtime_dir import ProcessRecord, RuntimeDir, SupervisorRecord, read_record
from shared.server_tls import server_tls
from shared.sockets import Context


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of the control plane that the ports show and command."""

    runtime: RuntimeDir
    own: ProcessRecord
    clock: Clock
    context: Context
    publisher: Publisher
    publication: Publication
    planes: Planes
    loads: Loads
    registry: Registry
    membership: Membership
    configuration: Configuration
    remote: Tally | None
    kv: KvIndex
    discovery: Discovery
    ledger: Ledger
    lender: Lender
    client_keys: ClientKeys
    flush_caches: Callable[[], Awaitable[Flushed]]
    order_adapters: OrderAdapters


async def serve(parts: Parts, config: StartConfig, *, is_first_start: bool) -> None:
    """Serve until cancelled. A port that is taken is an error at the first start only; later it is tried again."""
    collector = RouterCollector(
        parts.publication,
        parts.planes,
        parts.loads,
        parts.clock,
        parts.ledger.transitions,
        parts.ledger.ejections,
        parts.remote,
        parts.kv,
        parts.discovery,
        parts.lender,
        refused=lambda: _refused(parts),
        is_supervised=lambda: _supervisor(parts.runtime)[1],
        compat=config.metrics_compat,
    )
    restart = restart_through(parts.context, parts.runtime, config.data_planes)

    def figures() -> Figures:
        return parts.ledger.watch.figures

    def status() -> StatusReport:
        return _status(parts, config.data_planes)

    live = Live(status, figures, parts.runtime, parts.clock)
    admin = Listener(
        admin_application(
            status,
            parts.membership,
            parts.configuration,
            parts.publisher.questions,
            restart,
            parts.flush_caches,
            parts.order_adapters,
            parts.runtime,
            figures,
            live,
            parts.ledger.newest,
            TokenFile(config.admin_token_file) if config.admin_token_file else None,
        ),
        flag="--admin-port",
        host=config.admin_host,
        port=config.admin_port,
        required=is_first_start,
        tls=server_tls(config, ADMIN_TLS_FILES),
    )
    prometheus = Listener(
        prometheus_application(
            collector,
            TokenFile(config.prometheus_token_file, "--prometheus-token-file")
            if config.prometheus_token_file
            else None,
        ),
        flag="--prometheus-port",
        host=config.prometheus_host,
        port=config.prometheus_port,
        required=is_first_start,
        tls=server_tls(config, PROMETHEUS_TLS_FILES),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(live.run())
        group.create_task(admin.run())
        group.create_task(prometheus.run())
        if (tls := server_tls(config)) is not None:
            group.create_task(Certificates(tls, lambda: _started(parts.runtime), restart).run())
        await admin.settled.wait()
        await prometheus.settled.wait()
        parts.publisher.ports_settled = True


def _started(runtime: RuntimeDir) -> list[float]:
    return [record.identity.started for record in living_planes(runtime)]


def _supervisor(runtime: RuntimeDir) -> tuple[SupervisorRecord | None, bool]:
    """Return what is known of the supervisor, and whether it lives."""
    record = read_record(runtime.supervisor, SupervisorRecord)
    return record, record is not None and is_alive(record)


def _refused(parts: Parts) -> Refused:
    keys = parts.client_keys.status()
    return Refused(
        configuration=parts.configuration.status().state in ("refused", "unreadable"),
        client_keys=keys is not None and keys.state == "refused",
    )


def _status(parts: Parts, data_planes: int) -> StatusReport:
    now = parts.clock.monotonic()
    supervisor, supervisor_runs = _supervisor(parts.runtime)
    here = (plane.identity for plane in parts.planes.present() if not plane.identity.host)
    return build_report(
        supervisor=supervisor,
        supervisor_runs=supervisor_runs,
        own=parts.own,
        table=parts.publication.table,
        members=parts.registry.members(),
        drained=parts.membership.drained(),
        held=parts.membership.held(),
        ended=frozenset(plane.id for plane in here if has_ended(parts.runtime, plane)),
        removed=parts.membership.removed(),
        data_planes=data_planes,
        config=parts.configuration.status(),
        client_keys=parts.client_keys.status(),
        planes=parts.planes,
        loads=parts.loads.report(parts.publication.table.workers, now=now),
        silent=parts.loads.silent(parts.publication.table.workers, now=now),
        malformed=parts.publisher.malformed,
        kv=parts.kv.report(),
        figures=parts.ledger.watch.figures,
        admission=parts.lender.status(),
        limits=parts.lender.limits,
        kubernetes=parts.discovery.kubernetes_status(),
        now=now,
        wall=parts.clock.wall(),
    )
