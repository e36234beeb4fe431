"""A worker's connections: the last one used is used next, none is kept for long, none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dataplane.descriptors import Allowance
from dataplane.upstream.connection import UpstreamConnection
from dataplane.upstream.pool import IDLE_LIMIT, Pool
from tests.unit.dataplane.listening import blackhole_port, listener, refusing_port, until
from tests.unit.dataplane.upstream.fake_transport import FakeTransport, Sink, feed


class Clock(asyncio.SelectorEventLoop):
    """A loop for pools that connect nowhere; the test sets its time."""

    now = 1000.0

    def time(self) -> float:
        return self.now


class Bench:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.opened = 0
        self.pool = Pool(
            "127.0.0.1", 1, tls=None, loop=clock, opened=self._count, allowance=Allowance(9, lambda: False)
        )

    def _count(self) -> None:
        self.opened += 1

    def idle(self) -> UpstreamConnection:
        """Make a connection that has just become idle."""
        connection = UpstreamConnection(self.pool._release)
        connection.connection_made(FakeTransport())
        connection.send(b"", b"", Sink(), bodiless_answer=False)
        feed(connection, b"HTTP/1.1 204 X\r\n\r\n")
        return connection


@pytest.fixture
def bench() -> Bench:
    clock = Clock()
    clock.close()
    return Bench(clock)


def test_an_empty_pool_has_nothing(bench: Bench) -> None:
    assert bench.pool.take() is None
    assert bench.pool.idle == 0


def test_the_last_one_used_is_used_next(bench: Bench) -> None:
    first, second, third = bench.idle(), bench.idle(), bench.idle()
    assert bench.pool.idle == 3
    assert bench.pool.take() is third
    assert bench.pool.take() is second
    bench.pool._release(third)
    assert bench.pool.take() is third
    assert bench.pool.take() is first
    assert bench.pool.take() is None


def test_a_connection_is_used_up_to_the_idle_limit_and_not_after(bench: Bench) -> None:
    old = bench.idle()
    bench.clock.now += 1.0
    fresh = bench.idle()
    bench.clock.now += IDLE_LIMIT - 0.01
    assert bench.pool.take() is fresh
    assert bench.pool.take() is None
    assert old.closed
    assert old.transport.is_closing()
    assert not fresh.closed


def test_the_limit_itself_is_too_late(bench: Bench) -> None:
    connection = bench.idle()
    bench.clock.now += IDLE_LIMIT
    assert bench.pool.take() is None
    assert connection.closed


def test_the_idle_limit_is_below_vllms() -> None:
    assert IDLE_LIMIT < 5.0


def test_a_connection_is_idle_from_when_it_comes_back(bench: Bench) -> None:
    connection = bench.idle()
    bench.clock.now += IDLE_LIMIT - 0.1
    assert bench.pool.take() is connection
    bench.clock.now += 100
    bench.pool._release(connection)
    bench.clock.now += IDLE_LIMIT - 0.1
    assert bench.pool.take() is connection


def test_those_that_the_worker_closed_are_passed_over(bench: Bench) -> None:
    alive, dead = bench.idle(), bench.idle()
    dead.connection_lost(None)
    assert bench.pool.take() is alive
    assert bench.pool.take() is None


def test_one_that_spoke_unasked_is_passed_over(bench: Bench) -> None:
    connection = bench.idle()
    feed(connection, b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert bench.pool.take() is None
    assert connection.closed


def test_reap_closes_the_old_ones_and_forgets_the_closed_ones(bench: Bench) -> None:
    old, old_dead = bench.idle(), bench.idle()
    bench.clock.now += IDLE_LIMIT - 1
    fresh, fresh_dead, last = bench.idle(), bench.idle(), bench.idle()
    old_dead.connection_lost(None)
    fresh_dead.connection_lost(None)
    bench.clock.now += 1
    bench.pool.reap()
    assert old.closed
    assert (fresh.closed, last.closed) == (False, False)
    assert bench.pool.idle == 2
    assert bench.pool.take() is last
    assert bench.pool.take() is fresh


def test_close_closes_the_idle_ones_now_and_those_in_use_when_they_come_back(bench: Bench) -> None:
    busy = bench.idle()
    assert bench.pool.take() is busy
    idle = bench.idle()
    bench.pool.close()
    assert (idle.closed, busy.closed) == (True, False)
    bench.pool._release(busy)
    assert (idle.closed, busy.closed) == (True, True)
    assert bench.pool.take() is None


# --- connecting ------------------------------------------------------------------------------------------


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await test()

    asyncio.run(run())


def real_pool(port: int, opened: list[int]) -> Pool:
    loop = asyncio.get_running_loop()
    return Pool(
        "127.0.0.1", port, tls=None, loop=loop, opened=lambda: opened.append(1), allowance=Allowance(9, lambda: False)
    )


def test_connect_opens_and_counts() -> None:
    async def test() -> None:
        opened: list[int] = []
        async with listener() as port:
            pool = real_pool(port, opened)
            connection = await pool.connect(5)
            assert (connection.closed, connection.used, pool.idle, len(opened)) == (False, False, 0, 1)
            connection.abort()

    in_loop(test)


def test_a_refused_connection_is_an_error_and_not_counted() -> None:
    async def test() -> None:
        opened: list[int] = []
        with refusing_port() as port, pytest.raises(OSError):
            await real_pool(port, opened).connect(5)
        assert not opened

    in_loop(test)


def test_a_host_that_does_not_answer_is_given_up_after_the_timeout() -> None:
    async def test() -> None:
        opened: list[int] = []
        with blackhole_port() as port:
            with pytest.raises(TimeoutError) as caught:
                await real_pool(port, opened).connect(0.05)
            assert isinstance(caught.value, OSError)
        assert not opened

    in_loop(test)


def test_a_connection_counts_as_open_until_its_descriptor_is_free() -> None:
    async def test() -> None:
        allowance: Allowance[UpstreamConnection] = Allowance(9, lambda: False)
        loop = asyncio.get_running_loop()
        with refusing_port() as refusing:
            pool = Pool("127.0.0.1", refusing, tls=None, loop=loop, opened=lambda: None, allowance=allowance)
            with pytest.raises(OSError):
                await pool.connect(5)
        with blackhole_port() as hole:
            pool = Pool("127.0.0.1", hole, tls=None, loop=loop, opened=lambda: None, allowance=allowance)
            connecting = asyncio.create_task(pool.connect(5))
            await until(lambda: allowance.taken == 1)
            connecting.cancel()
            await until(lambda: allowance.taken == 0)
        async with listener() as port:
            pool = Pool("127.0.0.1", port, tls=None, loop=loop, opened=lambda: None, allowance=allowance)
            connection = await pool.connect(5)
            assert allowance.taken == 1
            connection.abort()
            await until(lambda: allowance.taken == 0)

    in_loop(test)


def test_a_name_is_resolved() -> None:
    async def test() -> None:
        async with listener() as port:
            allowance: Allowance[UpstreamConnection] = Allowance(9, lambda: False)
            loop = asyncio.get_running_loop()
            pool = Pool("localhost", port, tls=None, loop=loop, opened=lambda: None, allowance=allowance)
            connection = await pool.connect(5)
            connection.abort()
            pool.close()

    in_loop(test)


def test_the_connection_that_is_idle_for_longest_makes_room(bench: Bench) -> None:
    first, second = bench.idle(), bench.idle()
    assert bench.pool.close_oldest()
    assert (first.closed, second.closed, bench.pool.idle) == (True, False, 1)
    second.abort()
    assert not bench.pool.close_oldest()
