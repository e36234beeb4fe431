"""Which workers were added, removed, drained and changed while the router runs, over those that it was started with.

Plain values and functions: each verb of an operator turns one value into the next. Workers go by their ids.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from controlplane.discovery.discovered import Discovered
from controlplane.discovery.static import described_workers, static_workers
from shared.worker_attributes import NOTHING_SAID, AttributeChange, ConfiguredWorker, WorkerAttributes, patched

DRAINED = "drained by an operator"
REMOVED = "being removed"


class RuntimeMembers(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed since `configured`, the ids that the router was started with.

    `leaving` ones are still there, until their last request has ended; then they are gone. `described` is what the
    configuration says of workers, `said` what operators say.
    """

    configured: tuple[str, ...] = ()
    described: dict[str, WorkerAttributes] = {}
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    said: dict[str, WorkerAttributes] = {}


def configured(urls: Iterable[str], workers: Iterable[ConfiguredWorker] = ()) -> RuntimeMembers:
    """Return the members as the configuration names and describes them."""
    ids = tuple(worker.id for worker in static_workers(urls))
    return RuntimeMembers(configured=ids, described=described_workers(ids, workers))


def members(state: RuntimeMembers) -> tuple[Discovered, ...]:
    """Return the workers that should exist, those of the configuration first."""
    removed = frozenset(state.removed)
    found = [worker for worker in static_workers(state.configured, state.described) if worker.id not in removed]
    found += [Discovered(id=key, url=key, source="admin") for key in state.added]
    draining = {**dict.fromkeys(state.draining, DRAINED), **dict.fromkeys(state.leaving, REMOVED)}
    said = state.said
    return tuple(
        worker._replace(draining=draining.get(worker.id, ""), said=said.get(worker.id, NOTHING_SAID))
        for worker in found
    )


def add(state: RuntimeMembers, key: str, said: WorkerAttributes | None = None) -> RuntimeMembers:
    """Have a worker, in service; one that was about to leave stays. `said` is what is said of it, None: as before."""
    state = _without(state, key, "removed", "draining", "leaving")
    if said is not None:
        state = _say(state, key, said)
    if key in state.configured or key in state.added:
        return state
    return msgspec.structs.replace(state, added=(*state.added, key))


def change(state: RuntimeMembers, key: str, wanted: AttributeChange) -> RuntimeMembers:
    """Say something else of a worker."""
    described = state.described.get(key, NOTHING_SAID)
    return _say(state, key, patched(state.said.get(key, NOTHING_SAID), wanted, described))


def leave(state: RuntimeMembers, key: str) -> RuntimeMembers:
    """Let a worker go once its last request has ended."""
    return _with(state, key, "leaving")


def remove(state: RuntimeMembers, key: str) -> RuntimeMembers:
    """Have a worker no more."""
    state = _say(_without(state, key, "added", "draining", "leaving"), key, NOTHING_SAID)
    return _with(state, key, "removed") if key in state.configured else state


def drain(state: RuntimeMembers, key: str) -> RuntimeMembers:
    """Give a worker no more requests."""
    return _with(state, key, "draining")


def undrain(state: RuntimeMembers, key: str) -> RuntimeMembers:
    """Give a worker requests again; one that was about to leave stays."""
    return _without(state, key, "draining", "leaving")


def _say(state: RuntimeMembers, key: str, said: WorkerAttributes) -> RuntimeMembers:
    others = {other: one for other, one in state.said.items() if other != key}
    return msgspec.structs.replace(state, said=others if said == NOTHING_SAID else {**others, key: said})


def _with(state: RuntimeMembers, key: str, name: str) -> RuntimeMembers:
    keys: tuple[str, ...] = getattr(state, name)
    return state if key in keys else msgspec.structs.replace(state, **{name: (*keys, key)})


def _without(state: RuntimeMembers, key: str, *names: str) -> RuntimeMembers:
    changes = {name: tuple(other for other in getattr(state, name) if other != key) for name in names}
    return msgspec.structs.replace(state, **changes)
