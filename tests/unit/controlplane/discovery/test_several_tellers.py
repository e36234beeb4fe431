"""Workers of whom registrations and Kubernetes tell: each source has its own, and nobody is there twice."""

from __future__ import annotations

import asyncio

from controlplane.discovery import runtime as verbs
from controlplane.discovery.discovered import Announced, merged
from controlplane.discovery.runtime import RuntimeMembers, members
from shared.worker_attributes import WorkerAttributes
from tests.unit.controlplane.members import Setting

A, B, A_OTHERWISE = "http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.1"
PINGS = Announced(attributes=WorkerAttributes(role="decode"))


def one(life: str = "1", held: str = "") -> Announced:
    return Announced(source="kubernetes", life=life, held=held)


def test_of_one_that_both_tell_of_the_registration_counts() -> None:
    assert merged({"kubernetes": {A: one(), B: one()}, "zmq": {A_OTHERWISE: PINGS}}) == {A_OTHERWISE: PINGS, B: one()}


def test_each_source_takes_only_its_own_away() -> None:
    async def run() -> None:
        setting = Setting()
        told = setting.membership
        await told.discover({A: PINGS})
        await told.discover({A: one(), B: one()}, source="kubernetes")
        assert setting.ids() == [A, B]
        await told.discover({}, goodbyes=[A], source="zmq")
        assert {member.worker.id: member.source for member in setting.registry.members()} == dict.fromkeys(
            (A, B), "kubernetes"
        )
        # The next life of the control plane knows who told of whom.
        again = Setting(state=setting.kept[-1])
        await again.membership.discover({})
        assert again.ids() == [A, B]
        assert again.membership.discovered("kubernetes") == {A: one(), B: one()}
        await again.membership.discover({}, source="kubernetes")
        assert again.ids() == []

    asyncio.run(run())


def test_who_is_held_gets_no_requests_and_says_why() -> None:
    state = verbs.discover(RuntimeMembers(), {A: one(held="pod default/a is not ready")})
    assert [(worker.source, worker.draining) for worker in members(state)] == [
        ("kubernetes", "pod default/a is not ready")
    ]
    assert members(verbs.drain(state, A))[0].draining == verbs.DRAINED
    assert members(verbs.undrain(state, A))[0].draining == "pod default/a is not ready"


def test_what_was_said_at_an_address_is_not_said_of_who_comes_there_next() -> None:
    state = verbs.drain(verbs.discover(RuntimeMembers(), {A: one()}), A)
    assert members(verbs.discover(state, {A: one()}))[0].draining == verbs.DRAINED
    assert members(verbs.discover(state, {A: one("2")}))[0].draining == ""
    leaving = verbs.discover(state, {}, goodbyes=[A])
    assert members(leaving)[0].draining == verbs.REMOVED
    assert verbs.discover(leaving, {A: one("2")}) == RuntimeMembers(discovered={A: one("2")})
    removed = verbs.remove(verbs.discover(RuntimeMembers(), {A: one()}), A)
    assert members(verbs.discover(removed, {A: one()})) == ()
    assert [worker.id for worker in members(verbs.discover(removed, {A: one("2")}))] == [A]
