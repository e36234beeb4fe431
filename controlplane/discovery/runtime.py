"""Which workers were added, removed, drained and changed while the router runs, over what its configuration says.

Plain values and functions: each verb of an operator, and each other configuration, turns one value into the next.
Workers go by their ids. Whatever was said last of a worker counts:

- An operator's verb holds while the configuration goes on to name the worker, or goes on not to name it.
- Who is named anew is there, also one that an operator removed or that was about to leave. If an operator added it
  before, it is the configuration's from then on. One that is drained stays so: a list says nothing about that.
- Who is named no more leaves as with `leave`, also if an operator added it before it was named.

Who registers (`controlplane.discovery.service`) is there as well, as long as it is registered, and then gone at once;
who says goodbye leaves as with `leave`. So is who is a pod of Kubernetes (`controlplane.kubernetes.service`). What the
configuration says of a worker lies over what it says of itself, and who is named or was added needs no registration to
stay. One that an operator removed stays away until its registration has ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from controlplane.discovery.discovered import Announced, Discovered
from controlplane.discovery.static import described_workers, static_workers
from shared.worker_attributes import (
    NOTHING_SAID,
    AttributeChange,
    ConfiguredWorker,
    WorkerAttributes,
    layered,
    patched,
)
from shared.worker_rank import place, rank_ids, resized, split_rank

DRAINED = "drained by an operator"
REMOVED = "being removed"


class RuntimeMembers(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed over `configured`, the ids that the configuration names.

    `leaving` ones are still there, until their last request has ended; then they are gone. Those of them that are
    neither configured nor added were configured before. `described` is what the configuration says
    of workers, `said` what operators say. Each URL has `ranks` workers (`shared.worker_rank`). `discovered` are those
    that have come by themselves, `departing` those of `leaving` that did and said goodbye. `drained` are those of
    `draining` of which was told that nothing is open there any more.
    """

    ranks: int = 1
    configured: tuple[str, ...] = ()
    described: dict[str, WorkerAttributes] = {}
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    said: dict[str, WorkerAttributes] = {}
    discovered: dict[str, Announced] = {}
    departing: dict[str, Announced] = {}
    drained: tuple[str, ...] = ()


def configured(urls: Iterable[str], workers: Iterable[ConfiguredWorker] = (), ranks: int = 1) -> RuntimeMembers:
    """Return the members as the configuration names and describes them, `ranks` workers for each URL."""
    ids = tuple(key for worker in static_workers(urls) for key in rank_ids(worker.id, ranks))
    return RuntimeMembers(ranks=ranks, configured=ids, described=described_workers(ids, workers))


def members(state: RuntimeMembers) -> tuple[Discovered, ...]:
    """Return the workers that should exist, those of the configuration first, those that registered last."""
    removed, told = frozenset(state.removed), {**state.departing, **state.discovered}
    found = [worker for worker in static_workers(state.configured, state.described) if worker.id not in removed]
    found += [Discovered(id=key, source="admin") for key in state.added]
    named = {*state.configured, *state.added}
    found += static_workers(key for key in state.leaving if key not in named and key not in told)
    found += [
        Discovered(id=key, source=one.source, draining=one.held)
        for key, one in told.items()
        if key not in named and key not in removed
    ]
    draining = {**dict.fromkeys(state.draining, DRAINED), **dict.fromkeys(state.leaving, REMOVED)}
    said = state.said
    return tuple(
        worker._replace(
            draining=draining.get(worker.id, worker.draining),
            said=said.get(worker.id, NOTHING_SAID),
            attributes=layered(worker.attributes, one.attributes) if one is not None else worker.attributes,
            transfer=one.transfer if one is not None else None,
        )
        for worker, one in ((worker, told.get(worker.id)) for worker in found)
    )


def add(state: RuntimeMembers, key: str, said: WorkerAttributes | None = None) -> RuntimeMembers:
    """Have a worker, in service; one that was about to leave stays. `said` is what is said of it, None: as before."""
    state = _without(state, key, "removed", "draining", "leaving")
    if said is not None:
        state = _say(state, key, said)
    if key in state.configured or key in state.added or key in state.discovered:
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
    departing = {other: one for other, one in state.departing.items() if other != key}
    state = msgspec.structs.replace(state, departing=departing)
    return _with(state, key, "removed") if key in state.configured or key in state.discovered else state


def drain(state: RuntimeMembers, key: str) -> RuntimeMembers:
    """Give a worker no more requests."""
    return _with(state, key, "draining")


def drained(state: RuntimeMembers, key: str) -> RuntimeMembers:
    """Know that it was told that a draining worker has nothing open any more."""
    return _with(state, key, "drained")


def to_tell(state: RuntimeMembers) -> tuple[str, ...]:
    """Return the draining workers that somebody waits for: those that leave are told of when they are gone."""
    return tuple(key for key in state.draining if key not in state.drained and key not in state.leaving)


def undrain(state: RuntimeMembers, key: str) -> RuntimeMembers:
    """Give a worker requests again; one that was about to leave stays."""
    return add(state, key)


def discover(
    state: RuntimeMembers, announced: Mapping[str, Announced], goodbyes: Collection[str] = ()
) -> RuntimeMembers:
    """Have exactly these workers that came by themselves. Of those that did before, the ones of `goodbyes` leave."""
    for key in strangers(state, announced):
        # What was said at its address was said of another one.
        state = _forget(state, key)
    named = {*state.configured, *state.added}
    known = {place(key): key for key in named} if announced or goodbyes else {}
    told = {known.get(place(key), key): one for key, one in announced.items()}
    new, ended = told.keys() - state.discovered.keys(), state.discovered.keys() - told.keys()
    leaving = {known.get(place(key), key) for key in goodbyes} & ended - named - {*state.removed}
    lost = ended - leaving
    forgotten = lost - named
    back = new - named
    return msgspec.structs.replace(
        state,
        discovered=told,
        departing={
            **{key: one for key, one in state.departing.items() if key not in new},
            **{key: state.discovered[key] for key in state.discovered if key in leaving},
        },
        removed=tuple(key for key in state.removed if key not in back and key not in forgotten),
        draining=tuple(key for key in state.draining if key not in forgotten),
        leaving=(
            *(key for key in state.leaving if key not in back and key not in forgotten and key not in leaving),
            *(key for key in state.discovered if key in leaving),
        ),
        said={key: one for key, one in state.said.items() if key not in forgotten},
    )


def strangers(state: RuntimeMembers, announced: Mapping[str, Announced]) -> frozenset[str]:
    """Return which of these ids are those of other servers at the same addresses."""
    before = {**state.departing, **state.discovered}
    known = ((key, before.get(key), one) for key, one in announced.items())
    return frozenset(key for key, old, one in known if old and old.life and one.life and old.life != one.life)


def _forget(state: RuntimeMembers, key: str) -> RuntimeMembers:
    """Know nothing of who came by itself at an address, nor what operators said of it."""
    rest = {other: one for other, one in state.discovered.items() if other != key}
    state = discover(state, rest)
    return state if key in state.configured or key in state.added else remove(state, key)


def configure(state: RuntimeMembers, wanted: RuntimeMembers) -> RuntimeMembers:
    """Go by another configuration (`configured`). A worker keeps its id, however its URL is written there."""
    state = _with_ranks(state, wanted.ranks)
    known = {place(key): key for key in (*state.discovered, *state.configured, *state.added, *state.leaving)}
    ids = {key: known.get(place(key), key) for key in wanted.configured}
    names = tuple(dict.fromkeys(ids.values()))
    named, unnamed = set(names) - set(state.configured), set(state.configured) - set(names)
    # Who has registered as well is there without being named.
    unnamed -= state.discovered.keys()
    left = tuple(worker.id for worker in members(state) if worker.id in unnamed and worker.id not in state.leaving)
    return msgspec.structs.replace(
        state,
        configured=names,
        described={ids[key]: described for key, described in wanted.described.items()},
        added=tuple(key for key in state.added if key not in named),
        removed=tuple(key for key in state.removed if key not in unnamed),
        leaving=(*(key for key in state.leaving if key not in named), *left),
    )


def _with_ranks(state: RuntimeMembers, ranks: int) -> RuntimeMembers:
    """Return the state with so many workers for each URL. Those that are then no workers any more leave."""
    if state.ranks == ranks:
        return state
    # Those that registered do so again within seconds.
    state = discover(state, {})
    gone = frozenset(state.leaving)

    def become(*ids: str) -> tuple[str, ...]:
        return resized(ids, state.ranks, ranks)

    names, removed = (
        become(*state.configured),
        become(*state.removed, *(key for key in state.configured if key in gone)),
    )
    added = tuple(key for key in state.added if key not in gone)
    # Of an added URL some ranks may have been removed: what is left of it is one worker then.
    added = become(*added) if ranks > 1 else tuple(dict.fromkeys(split_rank(key)[0] for key in added))
    stay = frozenset((*names, *added)) - frozenset(removed)
    there = (worker.id for worker in members(state))
    return msgspec.structs.replace(
        state,
        ranks=ranks,
        configured=names,
        added=added,
        removed=removed,
        draining=become(*state.draining),
        leaving=tuple(key for key in there if key not in stay),
        said={key: state.said[one] for one in state.said for key in _heirs(one, state.ranks, ranks)},
    )


def _heirs(key: str, old: int, new: int) -> tuple[str, ...]:
    """Return the workers that are like one was: the same rank, or all where one of the two has none."""
    url, rank = split_rank(key)
    if old == 1 or new == 1:
        return rank_ids(url, new)
    return (key,) if rank is not None and rank < new else ()


def _say(state: RuntimeMembers, key: str, said: WorkerAttributes) -> RuntimeMembers:
    others = {other: one for other, one in state.said.items() if other != key}
    return msgspec.structs.replace(state, said=others if said == NOTHING_SAID else {**others, key: said})


def _with(state: RuntimeMembers, key: str, name: str) -> RuntimeMembers:
    keys: tuple[str, ...] = getattr(state, name)
    return state if key in keys else msgspec.structs.replace(state, **{name: (*keys, key)})


def _without(state: RuntimeMembers, key: str, *names: str) -> RuntimeMembers:
    changes = {name: tuple(other for other in getattr(state, name) if other != key) for name in names}
    return msgspec.structs.replace(state, **changes)
