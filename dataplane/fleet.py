"""The plane's view of the workers: what the table says, compiled for choosing, plus what the plane itself knows.

A slot lives as long as the table has that worker in that life, and until its last request is done. A view is
compiled once per table version and pinned by each request, so that a change of the table never shows in the middle
of a choice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from dataplane.accounting import Accounting
from dataplane.avoidance import Avoidance
from dataplane.breaker import Blame, Breakers
from dataplane.descriptors import Allowance
from dataplane.fleet_view import FleetView, PoolName
from dataplane.kv.caches import KvCaches
from dataplane.load import Figures
from dataplane.model_routes import routes_of
from dataplane.pd import connectors
from dataplane.pd.connectors import connector_of
from dataplane.pd.pairs import Fits, Pairs
from dataplane.pd.pools import kind_of, roles_of
from dataplane.policies import PlaneView, refusal
from dataplane.pool_policies import PoolPolicies
from dataplane.priority import in_groups
from dataplane.response_homes import ResponseHomes
from dataplane.slot import Slot
from dataplane.slow_start import SlowStart
from dataplane.subsets import Groups, Served, by_served
from dataplane.upstream.connection import UpstreamConnection
from dataplane.upstream.pool import Pool
from shared.breaker import BreakerRules, ProbeNewsKind
from shared.config import ConfigError
from shared.messages import INFLIGHT_UNKNOWN_AFTER, LoadReport, PlaneInflight
from shared.plane_report import WorkerOutcomes
from shared.table import RoutingTable, Settings, Worker, is_disaggregated, make_table
from shared.tls import TlsFileError, WorkerTls, load, tls_config
from shared.worker_key import WorkerKey, read_worker_key

MANY_CONNECTIONS = 65536
"""Connections to workers, where nobody says how many there may be."""


class Fleet:
    """Owns the slots; applies tables and load reports to them."""

    def __init__(
        self,
        accounting: Accounting,
        *,
        plane_slot: int,
        plane: str = "",
        rng: random.Random,
        connections: int = MANY_CONNECTIONS,
        kv: KvCaches | None = None,
    ) -> None:
        """Know no worker yet; at most so many `connections` to workers are open at a time.

        `plane` is the plane's id, by which the table names who may probe; `kv` is what a policy may want.
        """
        self._accounting = accounting
        self._loop = asyncio.get_running_loop()
        self.allowance: Allowance[UpstreamConnection] = Allowance(connections, self._close_an_idle_connection)
        self.homes = ResponseHomes()
        self._slots: dict[str, Slot] = {}
        # Data-parallel ranks share a URL.
        self._at: dict[str, list[Slot]] = {}
        self._leaving: list[Slot] = []
        self._tls = WorkerTls()
        self.worker_key = WorkerKey()
        self.avoidance: Avoidance[Slot] = Avoidance()
        self.breakers: Breakers[Slot] = Breakers(plane)
        self.slow_start: SlowStart[Slot] = SlowStart(rng)
        # What each other plane told last, and when.
        self._others: dict[str, tuple[PlaneInflight, float]] = {}
        self._load_seq = (0, 0)
        # When a load report came last, in the loop's time; None before the first.
        self.loads_heard: float | None = None
        self.stale = True
        self.pairs = Pairs()
        table = make_table(epoch=0, version=0)
        self.policy = PoolPolicies(table, PlaneView(plane_slot, rng, kv), accounting, self.now)
        self.view = self._compile(table)

    def now(self) -> float:
        """The loop's time in seconds."""
        return self._loop.time()

    @staticmethod
    def refuse(table: RoutingTable) -> str | None:
        """Return why this plane can not serve a table, or None."""
        return refusal(table) or connectors.refusal(table)

    def refuse_settings(self, settings: Settings) -> str | None:
        """Return why this plane could not serve by settings that are new, or None. It reads the files they name.

        A table with a file that can not be read is no reason to refuse it: other workers may be reached all the same.
        """
        tls = tls_config(settings)
        try:
            if tls.files():
                load(tls)
            if settings.worker_key_file is not None:
                read_worker_key("--api-key-file", Path(settings.worker_key_file))
        except (TlsFileError, ConfigError) as error:
            return str(error)
        return self.refuse(msgspec.structs.replace(self.view.table, settings=settings))

    def adopt(self, table: RoutingTable) -> None:
        """Serve from `table` as of now. Requests that pinned the view before keep theirs."""
        self._tls.use(tls_config(table.settings))
        self.worker_key.use(table.settings.worker_key_file)
        slots: dict[str, Slot] = {}
        for worker in table.workers.values():
            slot = self._slots.pop(worker.id, None)
            if slot is not None and slot.epoch != worker.epoch:
                self._leaving.append(slot)
                slot = None
            slots[worker.id] = slot or self._make_slot(worker)
        self._leaving.extend(self._slots.values())
        for slot in self._leaving:
            slot.pool.close()
            slot.has_left = True
        for worker in table.workers.values():
            slots[worker.id].follow(worker)
        self._slots = slots
        self._at = {}
        for slot in slots.values():
            self._at.setdefault(slot.url, []).append(slot)
        self.avoidance.forget_all_but(set(slots.values()))
        self._accounting.forget_workers(slots)
        self._accounting.know_models(table.models)
        self._accounting.know_models(chain.from_iterable(one.models or () for one in table.workers.values()))
        self.breakers.lead(
            {slot: table.workers[slot.id].breaker for slot in slots.values()},
            BreakerRules.of(table.settings),
            table.stamp.epoch,
            self.now(),
        )
        self.policy.follow(table)
        self.slow_start.use(
            (slots[worker.id] for worker in table.workers.values() if worker.state == "ready"),
            table.settings.slow_start,
            self.now(),
        )
        self.view = self._compile(table)
        self.pairs.adopt(self.view.fits)

    def _make_slot(self, worker: Worker) -> Slot:
        parts = urlsplit(worker.url)
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        opened = self._accounting.connections_opened

        def count() -> None:
            opened[worker.id] += 1

        if secure:
            # This takes 20 ms; better now than in a request's time. If it can not be done, connecting says so.
            with suppress(TlsFileError):
                self._tls.context()
        pool = Pool(
            host,
            port,
            tls=self._tls if secure else None,
            loop=self._loop,
            opened=count,
            allowance=self.allowance,
        )
        slot = Slot(self, worker, pool, parts.netloc.encode(), self._accounting.timings_of(worker.id))
        slot.others = sum(told.counts.get(worker.id, 0) for told, _ in self._others.values())
        slot.others_prefill = sum(told.prefill.get(worker.id, 0) for told, _ in self._others.values())
        return slot

    def _compile(self, table: RoutingTable) -> FleetView:
        pools: tuple[PoolName, ...] = ("prefill", "decode") if is_disaggregated(table) else ()
        return self._compile_pool(table, "plain", {pool: self._compile_pool(table, pool, {}) for pool in pools})

    @staticmethod
    def _fits(table: RoutingTable, halves: Mapping[PoolName, FleetView]) -> Fits | None:
        if not halves:
            return None
        return Fits(connector_of(table.settings.kv_connector), halves["prefill"].ready, halves["decode"].ready)

    def _compile_pool(self, table: RoutingTable, pool: PoolName, pools: Mapping[PoolName, FleetView]) -> FleetView:
        roles = roles_of(pool, table.settings)
        ready = tuple(
            self._slots[worker.id]
            for worker in table.workers.values()
            if worker.state in ("ready", "ejected") and worker.role in roles
        )
        ejected = {slot: worker.since for slot in ready if (worker := table.workers[slot.id]).state == "ejected"}
        out = self.breakers.out() | ejected
        percent = table.settings.max_ejection_percent

        def usable(slots: Iterable[Slot]) -> Groups:
            return in_groups(tuple(slots), lambda slot: slot.rank, out, percent)

        any_request = usable(ready)
        policy, model_policies = self.policy.of(pool), self.policy.by_model(pool)
        by_model = by_served(ready, table, usable)
        untold = (slot for slot in ready if table.workers[slot.id].models is None)
        any_model = any_request if table.settings.forward_unknown_models else usable(untold)

        def is_ready(served: Served) -> bool:
            whole = any(by_model.get(served, any_model))
            return whole or (bool(pools) and all(any(half.groups(served)) for half in pools.values()))

        return FleetView(
            pool=pool,
            kind=kind_of(pool, table),
            pools=pools,
            fits=self._fits(table, pools),
            table=table,
            settings=table.settings,
            request_id_headers=tuple(name.encode() for name in table.settings.request_id_headers),
            session_headers=tuple(name.encode() for name in table.settings.session_headers),
            policy=policy,
            model_policies=model_policies,
            prepares=any(one.has_preparations for one in (policy, *model_policies.values()))
            or any(view.prepares for view in pools.values()),
            names_worker=table.settings.expose_worker or table.settings.explain,
            ready=ready,
            any_request=any_request,
            by_model=by_model,
            any_model=any_model,
            recovering=tuple(slot for slot in self.breakers.recovering() if slot in ready and slot not in ejected),
            has_priorities=len(any_request) > 1 or any(len(groups) > 1 for groups in by_model.values()),
            ranks=frozenset(
                worker.rank
                for worker in table.workers.values()
                if worker.rank is not None and (pool == "plain" or worker.role in roles)
            ),
            routes=routes_of(table.settings.models, is_ready) if pool == "plain" else {},
        )

    def _close_an_idle_connection(self) -> bool:
        slots = self._slots.values()
        return bool(slots) and max((slot.pool for slot in slots), key=lambda pool: pool.idle).close_oldest()

    def preferred(self, candidates: tuple[Slot, ...], now: float) -> tuple[Slot, ...]:
        """Return those that a request should rather go to: neither avoided for the moment, nor still warming.

        `now` is the loop's time in seconds.
        """
        return self.slow_start.thinned(self.avoidance.preferred(candidates, now))

    def missed(self, slot: Slot) -> None:
        """Note that a worker's server could not be reached, or ended a connection: all that are there are avoided."""
        for one in self._at.get(slot.url, ()) if slot.data_parallel_rank is not None else (slot,):
            self.avoidance.failed(one, self.now())

    def reached(self, slot: Slot) -> None:
        """Note that a worker's server answers. Of use where some worker is avoided."""
        for one in self._at.get(slot.url, ()):
            self.avoidance.reached(one)

    # --- breakers --------------------------------------------------------------------------------------

    def blame(self, slot: Slot) -> Blame:
        """Note a failure of a worker; the view changes when that opens its breaker."""
        if self._slots.get(slot.id) is not slot:
            return Blame(1, counted=False, tripped=False)
        blame = self.breakers.failed(slot, self._accounting.worker_requests.get(slot.id, 0), self.now())
        if blame.tripped:
            self.view = self._compile(self.view.table)
        return blame

    def wanting_probe(
        self, view: FleetView, served: Served | None, tried: Collection[Slot], rank: int | None = None
    ) -> tuple[Slot, Literal["wanted", "sent"]] | None:
        """Return a worker for which a request for `served` can do something, and what; see `Breakers.probe`."""
        for slot in view.recovering:
            if rank is not None and slot.data_parallel_rank != rank:
                continue
            if slot not in tried and view.may_serve(view.table.workers[slot.id], served):
                todo = self.breakers.probe(slot, self.now(), alone=self.stale)
                if todo is not None:
                    return slot, todo
        return None

    def probed(self, slot: Slot, news: ProbeNewsKind) -> None:
        """Note how a probe ended."""
        self.breakers.probed(slot, news, self.now())
        self.view = self._compile(self.view.table)

    # --- load ------------------------------------------------------------------------------------------

    def take_load(self, report: LoadReport) -> None:
        """Keep the engines' figures, newest wins; another control plane counts from its own beginning."""
        epoch, seq = self._load_seq
        if report.stamp.epoch == epoch and report.seq <= seq:
            return
        self._load_seq = (report.stamp.epoch, report.seq)
        now = self.loads_heard = self.now()
        for worker, engine in report.loads.items():
            if (slot := self._slots.get(worker)) is not None:
                slot.set_engine(engine, now)
                self.pairs.know_room(slot, engine.kv_usage)

    def take_plane_inflight(self, report: PlaneInflight) -> None:
        """Keep what another plane has in flight, newest wins; a plane without any is forgotten."""
        if report.plane in self._others:
            told, _ = self._others[report.plane]
            if report.seq <= told.seq:
                return
            self._forget_plane(report.plane)
        if report.counts:
            self._others[report.plane] = (report, self.now())
            self._add_others(report, 1)

    def _forget_silent_planes(self) -> None:
        # A plane that dies together with the control plane is mourned by nobody: the next one never heard of it.
        oldest = self.now() - INFLIGHT_UNKNOWN_AFTER
        for plane in [plane for plane, (_, heard) in self._others.items() if heard < oldest]:
            self._forget_plane(plane)

    def _forget_plane(self, plane: str) -> None:
        told, _ = self._others.pop(plane)
        self._add_others(told, -1)

    def _add_others(self, told: PlaneInflight, sign: int) -> None:
        for worker, count in told.counts.items():
            if (slot := self._slots.get(worker)) is not None:
                slot.others += sign * count
                slot.others_prefill += sign * told.prefill.get(worker, 0)

    def engine_loads(self) -> dict[str, int]:
        """Return how many requests each engine runs and has waiting, as it said; unknown ones are left out."""
        now = self.now()
        known = {slot.id: slot.engine_requests(now) for slot in self._slots.values()}
        return {key: count for key, count in known.items() if count is not None}

    def figures(self) -> dict[str, Figures]:
        """Return what is known of each worker's load."""
        return {slot.id: slot.figures() for slot in self._slots.values()}

    def inflight(self) -> dict[str, int]:
        """This plane's requests per worker; workers without any are left out."""
        return {slot.id: slot.inflight for slot in self._slots.values() if slot.inflight}

    def prefill(self) -> dict[str, int]:
        """Tokens of this plane's prompts that workers have still to compute; workers without any are left out."""
        return {slot.id: slot.prefills.total for slot in self._slots.values() if slot.prefills.total}

    def outcomes(self) -> dict[str, WorkerOutcomes]:
        """What became of this plane's requests, per worker; workers without any are left out."""
        told = {slot.id: slot.outcomes.told(slot.epoch) for slot in self._slots.values()}
        return {worker: outcomes for worker, outcomes in told.items() if outcomes is not None}

    def reap(self) -> None:
        """Close what was idle for too long, forget who has ended, see replaced TLS files. About once a second."""
        self._tls.refresh()
        for slot in self._slots.values():
            slot.pool.reap()
        self._leaving = [slot for slot in self._leaving if slot.inflight]
        self._forget_silent_planes()
        self.policy.tick(self.now())
        self.slow_start.tick(self.now())
        if self.breakers.tick(self.now(), alone=self.stale):
            self.view = self._compile(self.view.table)

    def close(self) -> None:
        """Close all idle connections."""
        for slot in (*self._slots.values(), *self._leaving):
            slot.pool.close()
