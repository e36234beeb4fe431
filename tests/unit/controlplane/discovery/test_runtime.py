"""What becomes of operators' changes when the configuration names other workers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.discovery import runtime as verbs
from controlplane.discovery.runtime import RuntimeMembers, configured, members
from shared.worker_attributes import ConfiguredWorker, WorkerAttributes

A, B, C = "http://a:1", "http://b:1", "http://c:1"
VERBS = {"add": verbs.add, "leave": verbs.leave, "remove": verbs.remove, "drain": verbs.drain, "undrain": verbs.undrain}


def configure(state: RuntimeMembers, urls: tuple[str, ...]) -> RuntimeMembers:
    return verbs.configure(state, configured(urls))


def shown(state: RuntimeMembers) -> dict[str, tuple[str, str]]:
    return {worker.id: (worker.source, worker.draining) for worker in members(state)}


HERE, ADDED, LEAVES = ("static", ""), ("admin", ""), ("static", verbs.REMOVED)
TABLE: dict[str, tuple[RuntimeMembers, tuple[str, ...], dict[str, tuple[str, str]]]] = {
    "one that is named anew comes": (RuntimeMembers(configured=(A,)), (A, B), {A: HERE, B: HERE}),
    "one that is named no more leaves": (RuntimeMembers(configured=(A, B)), (A,), {A: HERE, B: LEAVES}),
    "an added one stays": (RuntimeMembers(configured=(A,), added=(B,)), (C,), {A: LEAVES, B: ADDED, C: HERE}),
    "an added one that is named now is the configuration's": (
        RuntimeMembers(configured=(A,), added=(B,)),
        (A, B),
        {A: HERE, B: HERE},
    ),
    "a removed one that is still named stays removed": (
        RuntimeMembers(configured=(A, B), removed=(B,)),
        (A, B, C),
        {A: HERE, C: HERE},
    ),
    "a removed one that is named no more has nothing to leave": (
        RuntimeMembers(configured=(A, B), removed=(B,)),
        (A,),
        {A: HERE},
    ),
    "a draining one drains on": (
        RuntimeMembers(configured=(A, B), draining=(B,)),
        (A, B, C),
        {A: HERE, B: ("static", verbs.DRAINED), C: HERE},
    ),
    "an added one that drains and is named now drains on": (
        RuntimeMembers(configured=(A,), added=(B,), draining=(B,)),
        (A, B),
        {A: HERE, B: ("static", verbs.DRAINED)},
    ),
    "a draining one that is named no more leaves": (
        RuntimeMembers(configured=(A, B), draining=(B,)),
        (A,),
        {A: HERE, B: LEAVES},
    ),
    "one that an operator lets go, and that is named as before, goes": (
        RuntimeMembers(configured=(A, B), leaving=(B,)),
        (A, B, C),
        {A: HERE, B: LEAVES, C: HERE},
    ),
    "one that leaves and is named anew stays": (
        RuntimeMembers(configured=(A,), leaving=(B,)),
        (A, B),
        {A: HERE, B: HERE},
    ),
    "an added one that an operator lets go and that is named now stays": (
        RuntimeMembers(configured=(A,), added=(B,), leaving=(B,)),
        (A, B),
        {A: HERE, B: HERE},
    ),
    "one that leaves goes on leaving": (
        RuntimeMembers(configured=(A,), leaving=(B,)),
        (A, C),
        {A: HERE, B: LEAVES, C: HERE},
    ),
    "another way to write a URL is no other worker": (
        RuntimeMembers(configured=(A,), added=(B,)),
        ("http://A:1", "http://B:1"),
        {A: HERE, B: HERE},
    ),
    "none at all": (RuntimeMembers(configured=(A,), added=(B,)), (), {A: LEAVES, B: ADDED}),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_was_said_last_counts(name: str) -> None:
    state, urls, expected = TABLE[name]
    assert shown(configure(state, urls)) == expected


def test_what_is_said_of_workers_is_the_present_configurations_with_the_operators_over_it() -> None:
    before = configured([A, B], [ConfiguredWorker(url=A, weight=2.0), ConfiguredWorker(url=B, weight=3.0)])
    said = verbs.add(before, A, WorkerAttributes(priority=4))
    state = verbs.configure(said, configured(["http://A:1/"], [ConfiguredWorker(url="http://a:1", weight=5.0)]))
    found = {worker.id: (worker.attributes.weight, worker.said.priority) for worker in members(state)}
    assert found == {A: (5.0, 4), B: (None, None)}
    # What operators said of one that comes back holds, and is forgotten with one that is gone.
    assert verbs.configure(state, before).said == said.said
    assert verbs.remove(verbs.configure(state, configured([])), A).said == {}


def test_a_list_that_comes_back_brings_back_what_was_before() -> None:
    state = RuntimeMembers(configured=(A, B), draining=(B,))
    assert configure(configure(state, (A,)), (A, B)) == state


def test_one_that_left_and_is_wanted_by_an_operator_is_an_added_one() -> None:
    state = configure(RuntimeMembers(configured=(A, B)), (A,))
    assert shown(verbs.add(state, B)) == shown(verbs.undrain(state, B)) == {A: HERE, B: ADDED}
    gone = verbs.remove(state, B)
    assert gone == RuntimeMembers(configured=(A,))
    # A removal is forgotten with the worker: named anew, it comes.
    assert shown(configure(gone, (A, B))) == {A: HERE, B: HERE}


Step = tuple[str, str] | tuple[str, ...]
lists = st.lists(st.sampled_from((A, B, C)), unique=True).map(tuple)
steps = st.one_of(st.tuples(st.sampled_from(sorted(VERBS)), st.sampled_from((A, B, C))), st.tuples(lists))


@given(lists, st.lists(steps, max_size=12))
def test_any_history_of_lists_and_verbs(first: tuple[str, ...], history: list[tuple[object, ...]]) -> None:
    """A model with two facts per worker: whether it is there, and why it drains."""
    state = RuntimeMembers(configured=first)
    named, there = set(first), {key: set[str]() for key in first}
    for step in history:
        if len(step) == 1:
            (wanted,) = step
            assert isinstance(wanted, tuple)
            for key in named - set(wanted):
                if key in there:
                    there[key].add("leave")
            for key in set(wanted) - named:
                there.setdefault(key, set()).discard("leave")
            state, named = configure(state, wanted), set(wanted)
            continue
        verb, key = map(str, step)
        if verb != "add" and key not in there:
            continue
        state = VERBS[verb](state, key)
        if verb == "remove":
            del there[key]
        elif verb in ("add", "undrain"):
            there[key] = set()
        else:
            there[key].add(verb)
    found = members(state)
    assert {worker.id: bool(worker.draining) for worker in found} == {key: bool(why) for key, why in there.items()}
    assert len(found) == len(there)
    assert set(state.configured) == named
    assert {worker.id for worker in found if worker.source == "admin"}.isdisjoint(named)
    # Nothing is remembered of workers that are neither there nor named.
    assert set(state.removed) <= named
    assert {*state.added, *state.draining, *state.leaving} <= there.keys()
    assert configure(state, state.configured) == state


def test_each_url_has_so_many_workers() -> None:
    state = configured([f"{A}/"], [ConfiguredWorker(url=A, weight=2)], ranks=2)
    assert [(worker.id, worker.url, worker.rank) for worker in members(state)] == [(f"{A}@0", A, 0), (f"{A}@1", A, 1)]
    assert {worker.attributes.weight for worker in members(state)} == {2}


def test_another_number_of_ranks_keeps_what_operators_said() -> None:
    state = verbs.remove(verbs.drain(verbs.add(RuntimeMembers(configured=(A, B)), C, WorkerAttributes(weight=3)), A), B)
    before = verbs.configure(state, configured((A, B), ranks=2))
    expected = {
        f"{A}@0": ("static", verbs.DRAINED),
        f"{A}@1": ("static", verbs.DRAINED),
        f"{C}@0": ADDED,
        f"{C}@1": ADDED,
        A: LEAVES,
        C: LEAVES,
    }
    assert shown(before) == expected
    assert {worker.said.weight for worker in members(before) if worker.url == C and worker.rank is not None} == {3}
    again = verbs.remove(verbs.remove(before, A), C)
    assert shown(verbs.configure(again, configured((A, B)))) == {
        A: ("static", verbs.DRAINED),
        C: ADDED,
        **{f"{url}@{rank}": LEAVES for url in (A, C) for rank in (0, 1)},
    }


def test_one_that_is_leaving_does_not_come_back_with_other_ranks() -> None:
    state = verbs.leave(verbs.leave(RuntimeMembers(configured=(A, B), added=(C,)), B), C)
    assert shown(verbs.configure(state, configured((A, B), ranks=2))) == {
        f"{A}@0": HERE,
        f"{A}@1": HERE,
        A: LEAVES,
        B: LEAVES,
        C: LEAVES,
    }


def test_what_is_left_of_an_added_url_is_a_worker_without_ranks() -> None:
    state = RuntimeMembers(ranks=2, added=(f"{A}@0", f"{A}@1"), said={f"{A}@0": WorkerAttributes(weight=2)})
    state = verbs.configure(verbs.remove(state, f"{A}@1"), configured(()))
    assert shown(state) == {A: ADDED, f"{A}@0": LEAVES}
    assert state.said[A].weight == 2
