"""Requests are taken in once each: with the first part of their body, or late without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dataplane.arrivals import Arrivals
from dataplane.client import Client
from tests.unit.dataplane.fake_granian import FakeTransaction, Field


class Door:
    """Arrivals, and what came in by them."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.bodies: list[bytes | bytearray] = []
        self.left = 0
        self.arrivals = Arrivals(self._handle)

    def _handle(self, client: Client) -> None:
        self.clients.append(client)
        client.read_body(1000, self.bodies.append, self._leave)

    def _leave(self) -> None:
        self.left += 1

    def announce(self, headers: list[Field] | None = None) -> FakeTransaction:
        transaction = FakeTransaction(headers=headers)
        self.arrivals.announce(transaction)
        return transaction


@pytest.fixture
def run() -> Callable[[Callable[[Door], Awaitable[None]]], None]:
    def run(test: Callable[[Door], Awaitable[None]]) -> None:
        async def main() -> None:
            await test(Door())

        asyncio.run(main())

    return run


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


Run = Callable[[Callable[[Door], Awaitable[None]]], None]


def test_a_request_is_taken_in_with_the_first_part_of_its_body(run: Run) -> None:
    async def test(door: Door) -> None:
        transaction = door.announce()
        await settle()
        assert door.clients == []
        transaction.give(b"half", more=True)
        await settle()
        assert len(door.clients) == 1
        assert door.bodies == []
        transaction.give(b" and half")
        await settle()
        assert door.bodies == [b"half and half"]

    run(test)


def test_a_request_whose_body_does_not_begin_is_taken_in_at_the_second_call(run: Run) -> None:
    async def test(door: Door) -> None:
        transaction = door.announce()
        door.arrivals.take_late()
        assert door.clients == []
        door.arrivals.take_late()
        assert len(door.clients) == 1
        transaction.give(b"at last")
        await settle()
        door.arrivals.take_late()
        assert len(door.clients) == 1
        assert door.bodies == [b"at last"]

    run(test)


def test_all_that_wait_are_taken_in_when_the_plane_ends(run: Run) -> None:
    async def test(door: Door) -> None:
        door.announce()
        door.announce()
        door.arrivals.take_late(all_of_them=True)
        assert len(door.clients) == 2

    run(test)


@pytest.mark.parametrize("late", [False, True])
def test_a_client_that_leaves_before_its_body_is_seen_to_leave_once(run: Run, late: bool) -> None:
    async def test(door: Door) -> None:
        transaction = door.announce()
        if late:
            door.arrivals.take_late(all_of_them=True)
        transaction.leave()
        await settle()
        assert len(door.clients) == 1
        assert door.left == 1

    run(test)


def test_a_refused_request_that_was_taken_late_hears_nothing_more(run: Run) -> None:
    async def test(door: Door) -> None:
        transaction = door.announce()
        door.arrivals.take_late(all_of_them=True)
        door.clients[0].unwatch()
        await settle()
        transaction.give(b"too late")
        await settle()
        assert door.bodies == []
        assert door.left == 0
        assert len(door.clients) == 1

    run(test)


def test_nothing_is_asked_of_a_client_that_expects_to_be_told_to_go_on(run: Run) -> None:
    async def test(door: Door) -> None:
        arrivals = Arrivals(door.clients.append)
        transaction = FakeTransaction(headers=[(b"expect", b"100-continue")])
        arrivals.announce(transaction)
        await settle()
        assert len(door.clients) == 1
        assert transaction.receives == 0

    run(test)
