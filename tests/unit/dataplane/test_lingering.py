"""After a refusal the rest of the body is read away, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import dataplane.lingering
from dataplane.lingering import Lingering
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.listening import until


def run(test: Callable[[FakeTransaction], Awaitable[None]]) -> None:
    async def main() -> None:
        transaction = FakeTransaction()
        await test(transaction)
        await until(lambda: transaction.done_calls == 1)
        await asyncio.sleep(0)
        assert not transaction.listening

    asyncio.run(main())


def test_it_ends_with_the_body() -> None:
    async def test(transaction: FakeTransaction) -> None:
        Lingering(transaction)
        for _ in range(3):
            transaction.give(b"x", more=True)
            await asyncio.sleep(0)
        assert transaction.done_calls == 0
        transaction.give(b"x")

    run(test)


def test_it_ends_when_the_client_leaves() -> None:
    async def test(transaction: FakeTransaction) -> None:
        Lingering(transaction)
        transaction.leave()

    run(test)


def test_it_ends_at_once_when_the_client_has_left() -> None:
    async def test(transaction: FakeTransaction) -> None:
        transaction.leave()
        Lingering(transaction)
        assert transaction.done_calls == 1

    run(test)


def test_it_ends_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataplane.lingering, "QUIET", 0.01)

    async def test(transaction: FakeTransaction) -> None:
        Lingering(transaction)
        transaction.give(b"x", more=True)

    run(test)


def test_it_ends_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataplane.lingering, "QUIET", 0.02)
    monkeypatch.setattr(dataplane.lingering, "LONGEST", 0.1)

    async def test(transaction: FakeTransaction) -> None:
        Lingering(transaction)
        async with asyncio.timeout(10):
            while not transaction.done_calls:
                transaction.give(b"x", more=True)
                await asyncio.sleep(0.001)

    run(test)
