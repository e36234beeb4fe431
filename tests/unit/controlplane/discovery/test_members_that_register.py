"""What becomes of workers that register, say goodbye and go, beside the configuration and operators' changes."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.discovery import runtime as verbs
from controlplane.discovery.discovered import Announced
from controlplane.discovery.runtime import RuntimeMembers, configured, members
from controlplane.registry import ProbeResult
from shared.table import Role
from shared.transfer import Transfer
from shared.worker_attributes import ConfiguredWorker, WorkerAttributes
from tests.unit.controlplane.members import Setting

A, B = "http://10.0.0.1:1", "http://10.0.0.2:1"
OTHER_WRITING = "http://10.0.0.1:1/"


def one(role: Role = "prefill", address: str = "10.0.0.1:2") -> Announced:
    return Announced(attributes=WorkerAttributes(role=role), transfer=Transfer(connector="nccl", address=address))


def shown(state: RuntimeMembers) -> dict[str, tuple[str, str, str]]:
    return {worker.id: (worker.source, worker.role, worker.draining) for worker in members(state)}


def test_they_come_with_role_and_transfer_and_are_gone_when_they_are_registered_no_more() -> None:
    state = verbs.discover(RuntimeMembers(), {A: one(), B: one("decode")})
    assert shown(state) == {A: ("zmq", "prefill", ""), B: ("zmq", "decode", "")}
    assert members(state)[0].transfer == one().transfer
    assert verbs.discover(state, {}) == RuntimeMembers()


def test_who_says_goodbye_leaves_with_its_role_until_it_is_idle() -> None:
    state = verbs.discover(RuntimeMembers(), {A: one()})
    state = verbs.discover(state, {}, goodbyes=[A])
    assert shown(state) == {A: ("zmq", "prefill", verbs.REMOVED)}
    # Other news change nothing about that, and a ping brings it back.
    assert shown(verbs.discover(state, {B: one()}))[A] == ("zmq", "prefill", verbs.REMOVED)
    assert shown(verbs.discover(state, {A: one()})) == {A: ("zmq", "prefill", "")}
    assert verbs.remove(state, A) == RuntimeMembers()


def test_what_the_configuration_says_lies_over_what_workers_say() -> None:
    state = configured([OTHER_WRITING], [ConfiguredWorker(url=A, role="decode", weight=3)])
    said = Announced(
        attributes=WorkerAttributes(role="prefill", weight=1, priority=7, labels={"zone": "a"}),
        transfer=one().transfer,
    )
    state = verbs.discover(state, {A: said})
    (worker,) = members(state)
    assert (worker.id, worker.source, worker.role) == (A, "static", "decode")
    assert (worker.attributes.weight, worker.attributes.priority) == (3, 7)
    assert worker.attributes.labels == {"zone": "a"}
    assert worker.transfer == one().transfer
    # It is named: neither silence nor a goodbye takes it away.
    assert shown(verbs.discover(state, {})) == {A: ("static", "decode", "")}
    assert shown(verbs.discover(state, {}, goodbyes=[A])) == {A: ("static", "decode", "")}


def test_one_that_registers_stays_when_the_list_drops_it() -> None:
    state = verbs.discover(configured([A]), {A: one()})
    assert shown(verbs.configure(state, configured([]))) == {A: ("zmq", "prefill", "")}


def test_one_that_registers_and_is_named_then_keeps_its_id() -> None:
    state = verbs.discover(RuntimeMembers(), {A: one()})
    assert shown(verbs.configure(state, configured([OTHER_WRITING]))) == {A: ("static", "prefill", "")}


@pytest.mark.parametrize("verb", [verbs.remove, lambda state, key: verbs.remove(verbs.leave(state, key), key)])
def test_one_that_was_removed_stays_away_as_long_as_it_registers(verb: object) -> None:
    assert callable(verb)
    state = verb(verbs.discover(RuntimeMembers(), {A: one()}), A)
    assert shown(verbs.discover(state, {A: one(), B: one()})) == {B: ("zmq", "prefill", "")}
    assert shown(verbs.add(state, A)) == {A: ("zmq", "prefill", "")}
    state = verbs.discover(state, {})
    assert shown(verbs.discover(state, {A: one()})) == {A: ("zmq", "prefill", "")}


def test_one_that_is_drained_stays_drained_while_it_is_there() -> None:
    state = verbs.drain(verbs.discover(RuntimeMembers(), {A: one()}), A)
    state = verbs.discover(state, {A: one(address="10.0.0.1:3"), B: one()})
    assert shown(state)[A] == ("zmq", "prefill", verbs.DRAINED)
    assert shown(verbs.undrain(state, A))[A][2] == ""
    # Nothing is kept of who is gone.
    assert verbs.discover(state, {}) == RuntimeMembers()


def test_with_other_ranks_they_register_anew() -> None:
    state = verbs.discover(configured([A]), {B: one()})
    again = verbs.configure(state, configured([A], ranks=2))
    assert list(shown(again)) == [f"{A}@0", f"{A}@1", A]


WORDS = st.sampled_from(["tell", "goodbye", "drain", "leave", "remove", "name", "drop"])


@settings(max_examples=100)
@given(st.lists(st.tuples(WORDS, st.sampled_from([A, B])), max_size=12), st.sets(st.sampled_from([A, B])))
def test_after_any_history_who_registers_is_there_and_nobody_else(
    history: list[tuple[str, str]], last: set[str]
) -> None:
    state, told = RuntimeMembers(), set[str]()
    for word, key in history:
        if word == "tell":
            told ^= {key}
            state = verbs.discover(state, dict.fromkeys(told, one()))
        elif word == "goodbye":
            told.discard(key)
            state = verbs.discover(state, dict.fromkeys(told, one()), goodbyes=[key])
        elif word in ("name", "drop"):
            state = verbs.configure(state, configured([key] if word == "name" else []))
        elif key in shown(state):
            state = getattr(verbs, word)(state, key)
    state = verbs.configure(verbs.discover(state, {}), configured([]))
    for key in tuple(shown(state)):
        state = verbs.remove(state, key)
    state = verbs.discover(state, dict.fromkeys(last, one()))
    assert shown(state) == dict.fromkeys(last, ("zmq", "prefill", ""))
    back = msgspec.json.decode(msgspec.json.encode(state), type=RuntimeMembers)
    assert members(back) == members(state)


def test_another_role_and_a_new_life_begin_a_new_epoch_g_disc_3() -> None:
    async def run() -> None:
        setting = Setting()
        membership, registry = setting.membership, setting.registry
        await membership.discover({A: one()})
        registry.probed(A, ProbeResult("ok"), now=0.0, wall=0.0)
        assert setting.state_of(A) == "ready"
        assert registry.is_healthy(A)
        await membership.discover({A: one(address="10.0.0.1:9")})
        worker = registry.worker(A)
        assert worker is not None
        assert (worker.state, worker.epoch, worker.transfer) == ("ready", 1, one(address="10.0.0.1:9").transfer)
        await membership.discover({A: one("decode")})
        worker = registry.worker(A)
        assert worker is not None
        assert (worker.state, worker.epoch, worker.role) == ("starting", 2, "decode")
        await membership.discover({A: one("decode")}, renewed=[A])
        worker = registry.worker(A)
        assert worker is not None
        assert (worker.state, worker.epoch) == ("starting", 3)
        kept = len(setting.kept)
        await membership.discover({A: one("decode")})
        assert len(setting.kept) == kept
        # The next control plane has them before anybody has pinged.
        assert Setting(state=setting.kept[-1]).ids() == [A]
        assert list(membership.discovered()) == [A]

    asyncio.run(run())
