"""The one view of which workers exist and what state each is in. Events go in, new records come out.

No socket and no clock: `controlplane.prober`, `controlplane.scraper` and the discovery bring the events and the time.

A worker's *life* is one run of the server behind its URL; `Worker.epoch` counts them. A new life begins when a
worker that had been in service refused connections and then answered again, or when one that had been in doubt
shows another process start time. Every worker is in doubt that an earlier control plane knew: it may have been
restarted while nobody looked. Figures and complaints of an earlier life say nothing about the present one.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from controlplane.discovery.discovered import Discovered, Source
from controlplane.health import Health, HealthRules, Outcome, forget_checks, judge, suspect
from controlplane.model_list import Facts, facts, merge_known
from shared.table import RoutingTable, Worker, WorkerState
from shared.transfer import Transfer
from shared.transfer_attributes import told_and_said
from shared.worker_attributes import resolved, said_names

MAX_REASON = 300
"""Characters of `Worker.reason`; it travels to every plane."""
_MAX_REMEMBERED = 1000
"""Workers that are gone whose epochs are kept, in case they return."""


class ProbeResult(NamedTuple):
    """What one look found, and how long its check took.

    `models`, `version` and `engines` are None when they were not told; entries of models by id, and of `engines`
    (of a bootstrap server at `bootstrap_port`) the id by rank.
    """

    outcome: Outcome
    reason: str = ""
    models: Mapping[str, bytes] | None = None
    version: str | None = None
    seconds: float = 0.0
    engines: Mapping[str, str] | None = None
    bootstrap_port: int | None = None


class Change(NamedTuple):
    """A worker's record before and after an event."""

    before: Worker
    after: Worker


class Member(NamedTuple):
    """A worker with what its server said of itself (its models' entries by id, its version) and who told of it.

    `facts` are what the entries say of the models, `changed` names the attributes that operators have changed while the
    router runs.
    """

    worker: Worker
    cards: Mapping[str, bytes]
    version: str | None
    facts: Mapping[str, Facts]
    source: Source = "static"
    changed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Entry:
    worker: Worker
    health: Health
    found: Discovered
    ejected: str = ""
    # Why it is not healthy; not shown while it drains.
    reason: str = ""
    cards: dict[str, bytes] = field(default_factory=dict)
    # What its bootstrap server told in this life, and where that is.
    engines: dict[str, str] = field(default_factory=dict)
    bootstrap_port: int | None = None
    refused: bool = False
    in_doubt: bool = False
    # It was refused, and its process has told of its new life before the prober saw it.
    is_renewed: bool = False
    _read: dict[str, bytes] | None = None
    _facts: dict[str, Facts] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Facts]:
        """What the entries of its models say, read when they are others."""
        if self._read is not self.cards:
            self._read, self._facts = self.cards, {model: facts(card) for model, card in self.cards.items()}
        return self._facts


class Registry:
    """All workers, in the order in which they were found."""

    def __init__(self, rules: HealthRules) -> None:
        self._rules = rules
        self._entries: dict[str, _Entry] = {}
        self._at: dict[str, tuple[str, ...]] = {}
        self._past_epochs: OrderedDict[str, int] = OrderedDict()
        self._renewed: set[str] = set()

    def use(self, rules: HealthRules) -> None:
        """Judge by these rules from now on."""
        self._rules = rules

    def sync(self, found: Iterable[Discovered], *, now: float, wall: float) -> tuple[Change, ...]:
        """Make these the members. Returns the records of those that are gone or changed; new ones are `starting`.

        `now` is monotonic, `wall` Unix time, both in seconds.
        """
        wanted = {worker.id: worker for worker in found}
        gone = [key for key in self._entries if key not in wanted or key in self._renewed]
        self._renewed.clear()
        changes = [self._forget(key, wall) for key in gone]
        for key, worker in wanted.items():
            entry = self._entries.get(key)
            is_new = entry is None
            if entry is None:
                epoch = self._past_epochs.pop(key, 0) + 1
                rank, role = worker.rank, worker.role
                record = Worker(id=key, url=worker.url, rank=rank, role=role, epoch=epoch, since=wall)
                entry = self._entries[key] = _Entry(record, Health(begun=now), worker)
            entry.found = worker
            change = self._show(entry, wall)
            if change is not None and not is_new:
                changes.append(change)
        at: defaultdict[str, list[str]] = defaultdict(list)
        for key, entry in self._entries.items():
            at[entry.worker.url].append(key)
        self._at = {url: tuple(keys) for url, keys in at.items()}
        return tuple(changes)

    def renew(self, worker_ids: Iterable[str]) -> None:
        """Have the next `sync` begin a new life of these: of what is known of them nothing is true any more."""
        self._renewed.update(worker_ids)

    def restore(self, table: RoutingTable, *, now: float) -> None:
        """Take over what an earlier control plane had found out about the present members.

        Without this every restart would publish a table in which no worker is ready, and stop the traffic.
        """
        at = {worker.url: worker for worker in table.workers.values() if worker.state in ("ready", "unhealthy")}
        for key, entry in self._entries.items():
            # With another number of ranks it is a new worker, at a server that is known.
            old = table.workers.get(key) or at.get(entry.worker.url)
            if old is None or old.url != entry.worker.url or old.role != entry.worker.role:
                continue
            if old.state == "ready" or old.state == "unhealthy":
                entry.health = Health(begun=now, state=old.state, was_ready=True)
                entry.reason = old.reason
            elif old.state == "ejected":
                # Until when is `controlplane.ejection`'s.
                entry.health = Health(begun=now, state="ready", was_ready=True)
                entry.ejected = old.reason
            elif old.state == "draining":
                # The table does not tell how it was besides: the first look does.
                entry.health = Health(begun=now, was_ready=True)
            else:
                continue
            # Breakers are `controlplane.breaker`'s.
            entry.worker = msgspec.structs.replace(old, id=key, rank=entry.worker.rank, breaker=None)
            entry.in_doubt = True
            if old.transfer is not None:
                entry.engines, entry.bootstrap_port = old.transfer.engine_ids, old.transfer.bootstrap_port
            models = old.models or ()
            entry.cards = {model: table.models[model].card for model in models if model in table.models}
            self._show(entry, old.since)

    def probed(
        self, worker_id: str, result: ProbeResult, *, now: float, wall: float, answering: bool = False
    ) -> Change | None:
        """Take in one look at a worker, which is `answering` if it answered requests meanwhile.

        Returns its change, None when its record stays the same.
        """
        entry = self._entries.get(worker_id)
        if entry is None:
            return None
        before = entry.worker
        was, in_service_once = entry.health.state, entry.health.was_ready
        if result.outcome == "ok" and entry.refused:
            entry.health = forget_checks(entry.health)
        entry.health = judge(entry.health, result.outcome, self._rules, now, took=result.seconds, answering=answering)
        state, epoch, models, reason = entry.health.state, before.epoch, before.models, result.reason
        process_start, version = before.process_start, before.version
        if result.outcome != "ok":
            entry.refused |= in_service_once and result.outcome == "refused"
            entry.in_doubt |= entry.refused or state == "unhealthy"
            if was == "starting" and state == "unhealthy":
                reason = f"not healthy within {self._rules.startup_timeout:g} s of its start: {reason}"
            elif was == state == "ready":
                reason = f"its last check: {reason}"
        else:
            if entry.refused:
                models = version = None
                entry.cards = {}
                entry.engines = {}
                if not entry.is_renewed:
                    epoch += 1
                    process_start = None
                entry.refused = entry.in_doubt = entry.is_renewed = False
            if result.models is not None:
                entry.cards = merge_known(entry.cards, result.models)
                models = tuple(entry.cards)
            version = result.version or version
            if result.engines is not None:
                entry.engines, entry.bootstrap_port = dict(result.engines), result.bootstrap_port
            reason = "" if state == "ready" else entry.health.fault or entry.reason
        entry.reason = reason[:MAX_REASON]
        return self._show(entry, wall, epoch=epoch, models=models, process_start=process_start, version=version)

    def process_started(self, worker_id: str, seconds: float) -> Change | None:
        """Take in a worker's own `process_start_time_seconds`. Returns its change, None when it is as known."""
        entry = self._entries.get(worker_id)
        if entry is None:
            return None
        known = entry.worker.process_start
        # A restart may be over before anybody has missed the worker. Several servers behind one URL tell several times,
        # each of them: the last one to start is taken for the worker.
        restarted = known is not None and (seconds > known or (entry.in_doubt and seconds != known))
        if restarted or entry.health.state == "ready":
            entry.in_doubt = False
        if restarted:
            # The look that comes next must not count this life once more.
            entry.is_renewed = entry.refused
        elif known is not None:
            return None
        told: dict[str, object] = {"process_start": seconds}
        if restarted:
            told |= {"epoch": entry.worker.epoch + 1, "version": None}
            entry.engines = {}
        told["transfer"] = self._transfer(entry)
        return self._replace(entry, msgspec.structs.replace(entry.worker, **told))

    @staticmethod
    def _transfer(entry: _Entry) -> Transfer | None:
        """Return how it moves KV cache: what was told, what operators say, and what its bootstrap server tells."""
        found = entry.found
        transfer = told_and_said(found.transfer, found.attributes.transfer, found.said.transfer)
        if not entry.engines:
            return transfer
        transfer = transfer or Transfer()
        return msgspec.structs.replace(transfer, engine_ids=entry.engines, bootstrap_port=entry.bootstrap_port)

    def suspect(self, worker_id: str, epoch: int) -> bool:
        """Take in evidence against a worker's life. Returns whether the worker should be looked at now."""
        entry = self._entries.get(worker_id)
        if entry is None or entry.worker.epoch != epoch or entry.health.state != "ready":
            return False
        entry.health = suspect(entry.health)
        entry.in_doubt = True
        return True

    def eject(self, worker_id: str, reason: str, *, wall: float) -> Change | None:
        """Keep a worker out of service although it is healthy; with an empty reason, no more. Returns its change."""
        entry = self._entries.get(worker_id)
        if entry is None:
            return None
        entry.ejected = reason[:MAX_REASON]
        return self._show(entry, wall)

    def worker(self, worker_id: str) -> Worker | None:
        """Return a member's record."""
        entry = self._entries.get(worker_id)
        return entry.worker if entry else None

    def at(self, url: str) -> tuple[Worker, ...]:
        """Return the members behind a URL: one, or its data-parallel ranks."""
        return tuple(self._entries[key].worker for key in self._at.get(url, ()))

    def pause(self, worker_id: str) -> float | None:
        """Return the seconds to wait before the next look at a worker; None when it is gone."""
        entry = self._entries.get(worker_id)
        return entry.health.pause if entry else None

    def is_healthy(self, worker_id: str) -> bool:
        """Whether a worker passes its checks, whatever else keeps it from getting requests."""
        entry = self._entries.get(worker_id)
        return entry is not None and entry.health.state == "ready"

    def lacks_version(self, worker_id: str) -> bool:
        """Whether the present life of a worker has not told its server's version yet."""
        entry = self._entries.get(worker_id)
        return entry is not None and (entry.worker.version is None or entry.refused)

    def lacks_engines(self, worker_id: str) -> bool:
        """Whether the ids of a worker's engines, in its present life, are not known."""
        entry = self._entries.get(worker_id)
        return entry is not None and (not entry.engines or entry.refused)

    def members(self) -> tuple[Member, ...]:
        """Return all members, in the order in which they were found."""
        return tuple(
            Member(
                entry.worker,
                entry.cards,
                entry.worker.version,
                entry.facts,
                entry.found.source,
                said_names(entry.found.said),
            )
            for entry in self._entries.values()
        )

    def _forget(self, worker_id: str, wall: float) -> Change:
        before = self._entries.pop(worker_id).worker
        self._past_epochs[worker_id] = before.epoch
        if len(self._past_epochs) > _MAX_REMEMBERED:
            self._past_epochs.popitem(last=False)
        return Change(before, msgspec.structs.replace(before, state="gone", since=wall))

    def _show(self, entry: _Entry, wall: float, **told: object) -> Change | None:
        """Bring the record up to what is known. Who drains is shown as draining, whatever its health."""
        before, found = entry.worker, entry.found
        state: WorkerState = entry.health.state
        reason = entry.reason
        if found.draining:
            state, reason = "draining", found.draining
        elif entry.ejected and state == "ready":
            state, reason = "ejected", entry.ejected
        since = before.since if state == before.state else wall
        told.update(resolved(found.attributes, found.said), state=state, reason=reason, since=since)
        told["transfer"] = self._transfer(entry)
        return self._replace(entry, msgspec.structs.replace(before, **told))

    @staticmethod
    def _replace(entry: _Entry, after: Worker) -> Change | None:
        before, entry.worker = entry.worker, after
        return Change(before, after) if after != before else None
