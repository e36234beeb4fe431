"""What operators and reloads do to the members while the router runs: add, change, remove, drain, undrain, configure.

A change is in force at once, and its answer comes when every plane that is heard of serves by it (or `PATIENCE` is
over), and when it is on disk for the next life of the control plane.

A worker is *drained* when every plane that is not known to be dead has said, after it took up a table in which the
worker drains, that it has no request there. One that is being removed is gone then, or once no request can last any
longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

import msgspec

from controlplane.change_log import attributes_told
from controlplane.discovery import runtime as verbs
from controlplane.discovery.discovered import TELLERS, Announced, Source, merged
from controlplane.discovery.runtime import RuntimeMembers
from controlplane.events.event import about
from controlplane.registry import Change, Registry
from shared.clock import Clock
from shared.config import ConfigError
from shared.table import Worker
from shared.worker_attributes import NOTHING_SAID, AttributeChange, WorkerAttributes, wrong_attributes
from shared.worker_rank import rank_ids, split_rank
from shared.worker_url import check_worker_url, origin

PATIENCE = 1.0
"""Seconds that an answer waits for the planes: one that says nothing for longer is as good as dead."""
MAX_MEMBERS = 10_000
"""Workers; each costs a task here and a place in every plane's table."""
GONE_PATIENCE = 1.5
"""Seconds that somebody waits for a worker to be gone: planes tell each second what they have open."""
_LEAVE_POLL = 0.1

log = logging.getLogger(__name__)

Order = tuple[int, int]


class MembershipError(Exception):
    """What was asked for can not be done. `code` is for programs, the message for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """`status` is the HTTP status that says the same."""
        super().__init__(message)
        self.status = status
        self.code = code


def no_worker(name: str) -> MembershipError:
    """Return the error for a worker that is not there."""
    message = f"There is no worker {name[:200]}; `routerctl workers list` (GET /workers) shows all."
    return MembershipError(404, "worker_not_found", message)


class Done(NamedTuple):
    """A change: the records of the workers after it, and how far it has come.

    They are one, or data-parallel ranks of one URL.
    """

    workers: tuple[Worker, ...]
    is_new: bool
    is_on_every_plane: bool
    is_kept: bool


class Fleet(Protocol):
    """What the planes are told, and what they tell."""

    def changed(self, changes: tuple[Change, ...]) -> Order:
        """Publish what the registry holds now; return the order of that table's stamp."""
        ...

    async def served(self, order: Order, patience: float) -> bool:
        """Wait until every plane serves from that table or a later one."""
        ...

    def refuses(self, said: WorkerAttributes) -> str | None:
        """Return why a worker of which so much is said can not serve by the configuration; None when it can."""
        ...

    def is_idle(self, worker_id: str, order: Order) -> bool:
        """Whether no plane has had a request at the worker since it serves from that table."""
        ...

    def inflight_at(self, worker_id: str) -> int:
        """Return how many requests the planes have told of there."""
        ...

    def silence_at(self, worker_id: str, order: Order) -> str:
        """Tell of the silent planes of which that is not known, and what to do; empty where there are none."""
        ...


class Store(Protocol):
    """Where changes are kept."""

    async def keep(self, state: RuntimeMembers) -> bool:
        """Keep the state; return whether that was possible."""
        ...


class Membership:
    """Turns verbs into members of the registry."""

    def __init__(
        self,
        registry: Registry,
        state: RuntimeMembers,
        *,
        fleet: Fleet,
        store: Store,
        clock: Clock,
        longest_request: float,
        order: Order,
    ) -> None:
        """Make `state` the members. `order` is that of the first table; `longest_request` is in seconds."""
        self._registry = registry
        self._state = state
        self._fleet = fleet
        self._store = store
        self._clock = clock
        self._longest_request = longest_request
        known = state.discovered.items()
        self._told = {source: {key: one for key, one in known if one.source == source} for source in TELLERS}
        self._sync()
        # Since which table, and since when, a worker gets no requests.
        now = clock.monotonic()
        self._draining: dict[str, tuple[Order, float]] = dict.fromkeys((*state.draining, *state.leaving), (order, now))
        self._order = order
        self._told_silence: dict[str, str] = {}
        self._some_drain = asyncio.Event()
        self._some_drain.set()

    async def run(self) -> None:
        """Tell of those that are drained, and let go of those of them that are leaving, until cancelled."""
        while True:
            await self._some_drain.wait()
            self._tell_held()
            await self._tell_drained()
            for key in self._state.leaving:
                # Looked up anew each time: meanwhile somebody may have wanted it to stay.
                if key in self._state.leaving and self._may_go(key):
                    await self._make(verbs.remove(self._state, key))
            if not self._state.leaving and not verbs.to_tell(self._state):
                self._some_drain.clear()
            await asyncio.sleep(_LEAVE_POLL)

    def find(self, name: str) -> tuple[Worker, ...]:
        """Return the worker of that id, or those with the same address: data-parallel ranks by their URL."""
        if (worker := self._registry.worker(name)) is not None:
            return (worker,)
        url, rank = split_rank(name)
        try:
            check_worker_url("the worker", url)
        except ConfigError:
            return ()
        wanted = origin(url)
        records = (member.worker for member in self._registry.members())
        return tuple(one for one in records if origin(one.url) == wanted and rank in (None, one.rank))

    def drained(self) -> frozenset[str]:
        """Return the draining workers at which no request is open any more."""
        return frozenset(key for key, (order, _) in self._draining.items() if self._fleet.is_idle(key, order))

    def held(self) -> dict[str, str]:
        """Return which silent planes are waited for, by the draining workers at which they may have requests."""
        told = ((key, self._fleet.silence_at(key, order)) for key, (order, _) in self._draining.items())
        return {key: silence for key, silence in told if silence}

    def removed(self) -> tuple[str, ...]:
        """Return the workers that the configuration names and an operator has removed."""
        return self._state.removed

    async def add(self, url: str, said: WorkerAttributes = NOTHING_SAID) -> Done:
        """Have a worker of which so much is said, or the ranks of its URL that are missing. Raises MembershipError."""
        try:
            if split_rank(url)[1] is not None:
                raise ConfigError(f"url has {url[:200]!r}, a rank; give the URL, and those that are missing are added")
            check_worker_url("url", url)
        except ConfigError as error:
            raise MembershipError(400, "bad_worker_url", f"{error}.") from None
        _check(said)
        if (fault := self._fleet.refuses(said)) is not None:
            raise MembershipError(400, "bad_attribute", fault)
        known = self.find(url)
        there = {worker.id for worker in known if worker.id not in self._state.leaving}
        ids = rank_ids(known[0].url if known else url.rstrip("/"), self._state.ranks)
        wanted = tuple(key for key in ids if key not in there)
        if not wanted:
            text = f"Worker {known[0].url} already exists; `routerctl workers list` (GET /workers) shows all."
            raise MembershipError(409, "worker_exists", text)
        if not known and len(self._registry.members()) + len(wanted) > MAX_MEMBERS:
            raise MembershipError(409, "too_many_workers", f"At most {MAX_MEMBERS} workers can be had.")
        log.info("worker %s is added", ", ".join(wanted), extra=about("worker", url))
        return await self._change(wanted, lambda state, key: verbs.add(state, key, said), is_new=not known)

    async def change(self, name: str, wanted: AttributeChange) -> Done:
        """Say something else of a worker. Raises MembershipError."""

        def say(state: RuntimeMembers, key: str) -> RuntimeMembers:
            state = verbs.change(state, key, wanted)
            _check(state.said.get(key, NOTHING_SAID))
            return state

        done = await self._change(self._known(name), say)
        for worker in done.workers:
            if told := attributes_told(worker, wanted):
                log.info("worker %s now has %s", worker.id, told, extra=about("worker", worker.id))
        return done

    async def remove(self, name: str, *, force: bool = False) -> Done:
        """Let a worker go: once its requests have ended, or at once. No open request is cut off."""
        keys = self._known(name)
        how = " at once" if force else ""
        log.info("worker %s is to be removed%s", ", ".join(keys), how, extra=about("worker", name))
        return await self._change(keys, verbs.remove if force else verbs.leave)

    async def gone(self, done: Done) -> None:
        """Wait until workers that are being removed are gone on every plane, unless they have requests open.

        `GONE_PATIENCE` seconds at most.
        """
        keys = {worker.id for worker in done.workers}
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_PATIENCE):
                while leaving := keys.intersection(self._state.leaving):
                    if any(self._fleet.inflight_at(key) for key in leaving):
                        return
                    await asyncio.sleep(_LEAVE_POLL / 2)
                await self._fleet.served(self._order, GONE_PATIENCE)

    async def drain(self, name: str) -> Done:
        """Give a worker no more requests."""
        return await self._change(self._known(name), verbs.drain)

    async def undrain(self, name: str) -> Done:
        """Give a worker requests again, once it is ready."""
        keys = self._known(name)
        for key in keys:
            if key in self._draining:
                log.info("worker %s is undrained by an operator", key, extra=about("worker", key))
        return await self._change(keys, verbs.undrain)

    async def configure(self, wanted: RuntimeMembers, *, longest_request: float) -> bool:
        """Have the workers that a reload names (`runtime.configured`); returns whether every plane routes by it.

        Those that it names no more leave as with `remove`.
        """
        self._longest_request = longest_request
        state = verbs.configure(self._state, wanted)
        if state == self._state:
            return True
        order, _ = await self._make(state)
        return await self._fleet.served(order, PATIENCE)

    async def discover(
        self,
        announced: Mapping[str, Announced],
        *,
        goodbyes: Collection[str] = (),
        renewed: Collection[str] = (),
        source: Source = "zmq",
    ) -> None:
        """Have exactly these workers that came by themselves, of those that `source` tells of.

        Planes are not waited for. `renewed` have begun a new life. A new life, and another role, is another worker: it
        has to be looked at before it gets anything.
        """
        before = self._state
        self._told[source] = dict(announced)
        told = merged(self._told)
        renewed = {*renewed, *verbs.strangers(before, told)}
        state = verbs.discover(before, told, goodbyes)
        roles = {worker.id: worker.role for worker in verbs.members(before)}
        other = {worker.id for worker in verbs.members(state) if roles.get(worker.id, worker.role) != worker.role}
        other |= roles.keys() & renewed
        if other:
            self._registry.renew(other)
        if other or state != before:
            await self._make(state)

    def discovered(self, source: Source = "zmq") -> Mapping[str, Announced]:
        """Return what `source` told of workers that came by themselves, by id."""
        return self._told[source]

    def _known(self, name: str) -> tuple[str, ...]:
        workers = self.find(name)
        if not workers:
            raise no_worker(name)
        return tuple(worker.id for worker in workers)

    def _may_go(self, key: str) -> bool:
        order, since = self._draining[key]
        return self._fleet.is_idle(key, order) or self._clock.monotonic() - since >= self._longest_request

    async def _change(
        self, keys: tuple[str, ...], verb: Callable[[RuntimeMembers, str], RuntimeMembers], *, is_new: bool = False
    ) -> Done:
        state, urls = self._state, {key: split_rank(key)[0] for key in keys}
        for key in keys:
            state = verb(state, key)
        order, is_kept = await self._make(state)
        is_on_every_plane = await self._fleet.served(order, PATIENCE)
        workers = tuple(
            self._registry.worker(key) or Worker(id=key, url=url, state="gone") for key, url in urls.items()
        )
        return Done(workers, is_new, is_on_every_plane, is_kept)

    def _tell_held(self) -> None:
        held = self.held()
        for key, silence in held.items():
            if self._told_silence.get(key) != silence:
                log.warning("worker %s may have requests open: %s", key, silence, extra=about("worker", key))
        self._told_silence = held

    async def _tell_drained(self) -> None:
        told = [key for key in verbs.to_tell(self._state) if self._fleet.is_idle(key, self._draining[key][0])]
        for key in told:
            log.info("worker %s has drained: nothing is open there", key, extra=about("worker", key))
            self._state = verbs.drained(self._state, key)
        if told:
            # The next life of the control plane must not tell it again.
            await self._store.keep(self._state)

    async def _make(self, state: RuntimeMembers) -> tuple[Order, bool]:
        # Who drains again is told of again.
        still = tuple(key for key in state.drained if key in state.draining)
        self._state = state = msgspec.structs.replace(state, drained=still)
        order = self._order = self._fleet.changed(self._sync())
        keys = (*state.draining, *state.leaving)
        begun = (order, self._clock.monotonic())
        self._draining = {key: self._draining.get(key, begun) for key in keys}
        if state.leaving or verbs.to_tell(state):
            self._some_drain.set()
        return order, await self._store.keep(state)

    def _sync(self) -> tuple[Change, ...]:
        wall = round(self._clock.wall(), 3)
        return self._registry.sync(verbs.members(self._state), now=self._clock.monotonic(), wall=wall)


def _check(said: WorkerAttributes) -> None:
    """Raise MembershipError for the first attribute that can not work."""
    for name, fault in wrong_attributes(msgspec.to_builtins(said)):
        raise MembershipError(400, "bad_attribute", f"{name} {fault}.")
