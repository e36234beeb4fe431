"""A worker's name: one lookup at a time, and no outage of the name servers takes a known worker away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from dataplane.upstream.resolver import FAILED, FRESH, Resolver, is_address, system_lookup
from tests.unit.dataplane.listening import until

GONE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NO_ANSWER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class Loop(asyncio.SelectorEventLoop):
    """Its time moves on when the test says so, too."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Names:
    """A name server whose every answer the test gives."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.asked = 0
        self._answer: asyncio.Future[list[str]] = loop.create_future()
        self.resolver = Resolver(loop, self._lookup)

    async def _lookup(self) -> list[str]:
        self.asked += 1
        self._answer = self.loop.create_future()
        return await self._answer

    async def answer(self, answer: list[str] | OSError) -> None:
        """Answer the lookup that is under way."""
        await until(lambda: self.resolver._asking is not None and self.asked > 0 and not self._answer.done())
        if isinstance(answer, OSError):
            self._answer.set_exception(answer)
        else:
            self._answer.set_result(answer)
        await until(lambda: self.resolver._asking is None)

    async def addresses(self, answer: list[str] | OSError) -> list[str]:
        """Ask for the addresses, and answer the lookup that follows."""
        asking = asyncio.create_task(self.resolver.addresses())
        await asyncio.sleep(0)
        await self.answer(answer)
        return await asking


def run(test: Callable[[Names], Awaitable[None]]) -> None:
    loop = Loop()

    async def main() -> None:
        await test(Names(loop))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def test_addresses_need_no_lookup() -> None:
    assert is_address("127.0.0.1")
    assert is_address("::1")
    assert not is_address("localhost")


def test_the_system_knows_localhost() -> None:
    async def main() -> None:
        found = await system_lookup(asyncio.get_running_loop(), "localhost")()
        assert set(found) <= {"127.0.0.1", "::1"}
        assert found

    asyncio.run(main())


def test_everybody_waits_for_one_lookup() -> None:
    async def test(names: Names) -> None:
        waiting = [asyncio.create_task(names.resolver.addresses()) for _ in range(5)]
        await asyncio.sleep(0)
        waiting.pop().cancel()
        await names.answer(["10.0.0.1"])
        assert await asyncio.gather(*waiting) == [["10.0.0.1"]] * 4
        assert names.asked == 1

    run(test)


def test_known_addresses_are_used_at_once_and_renewed_beside() -> None:
    async def test(names: Names) -> None:
        await names.addresses(["10.0.0.1"])
        assert await names.resolver.addresses() == ["10.0.0.1"]
        assert names.asked == 1
        names.loop.ahead += FRESH + 0.1
        assert await names.resolver.addresses() == ["10.0.0.1"]
        await names.answer(["10.0.0.2"])
        assert await names.resolver.addresses() == ["10.0.0.2"]
        assert names.asked == 2

    run(test)


def test_a_failure_is_told_to_all_for_a_while() -> None:
    async def test(names: Names) -> None:
        for asked in (1, 2):
            with pytest.raises(socket.gaierror):
                await names.addresses(NO_ANSWER)
            for _ in range(3):
                with pytest.raises(socket.gaierror):
                    await names.resolver.addresses()
            assert names.asked == asked
            names.loop.ahead += FAILED + 0.1
        assert await names.addresses(["10.0.0.1"]) == ["10.0.0.1"]

    run(test)


def test_addresses_stay_when_no_name_server_answers() -> None:
    async def test(names: Names) -> None:
        await names.addresses(["10.0.0.1"])
        for _ in range(3):
            names.loop.ahead += FRESH + 0.1
            assert await names.addresses(NO_ANSWER) == ["10.0.0.1"]
            assert await names.resolver.addresses() == ["10.0.0.1"]

    run(test)


def test_addresses_go_when_the_name_does_not_exist_any_more() -> None:
    async def test(names: Names) -> None:
        await names.addresses(["10.0.0.1"])
        names.loop.ahead += FRESH + 0.1
        # The list in hand was good when it was given; the next one to ask is told.
        await names.addresses(GONE)
        with pytest.raises(socket.gaierror):
            await names.resolver.addresses()

    run(test)


def test_a_name_without_addresses_is_an_error() -> None:
    async def test(names: Names) -> None:
        with pytest.raises(socket.gaierror):
            await names.addresses([])

    run(test)


def test_close_ends_a_lookup() -> None:
    async def test(names: Names) -> None:
        waiting = asyncio.create_task(names.resolver.addresses())
        await until(lambda: names.asked == 1)
        names.resolver.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(test)
