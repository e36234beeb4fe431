"""One client: reading its body, seeing it leave, and answering it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.client import Client
from shared.errors import RouterError, bad_answer, method_not_allowed, no_worker, payload_too_large
from tests.unit.dataplane.fake_granian import FakeTransaction, Field

LIMIT = 100


class Reading:
    """A client whose body is being read."""

    def __init__(self, headers: list[Field] | None = None, *, limit: int = LIMIT, method: str = "POST") -> None:
        self.transaction = FakeTransaction(headers=headers, method=method)
        self.client = Client(self.transaction)
        self.bodies: list[bytes | bytearray] = []
        self.left = 0
        self._limit = limit

    def begin(self) -> None:
        self.client.read_body(self._limit, self.bodies.append, self._leave)

    def _leave(self) -> None:
        self.left += 1


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await test()

    asyncio.run(run())


def length(size: int) -> list[Field]:
    return [(b"content-type", b"x"), (b"content-length", b"%d" % size)]


# --- the body --------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_a_body_arrives_once_and_whole_however_it_comes(parts: list[bytes], declared: bool, early: bool) -> None:
    async def test() -> None:
        body = b"".join(parts)
        reading = Reading(length(len(body)) if declared else None)
        if not early:
            reading.begin()
        for number, part in enumerate(parts):
            reading.transaction.give(part, more=number < len(parts) - 1)
            if not early:
                await settle()
        if early:
            reading.begin()
        for _ in parts:
            await settle()
        assert reading.bodies == [body]
        assert not reading.left

    in_loop(test)


def test_a_body_of_known_length_ends_with_its_last_byte() -> None:
    async def test() -> None:
        reading = Reading(length(5))
        reading.begin()
        reading.transaction.give(b"abc", more=True)
        await settle()
        assert not reading.bodies
        reading.transaction.give(b"de", more=True)
        await settle()
        assert reading.bodies == [b"abcde"]
        assert reading.transaction.receives == 2

    in_loop(test)


def test_a_body_of_unknown_length_ends_when_the_server_says_so() -> None:
    async def test() -> None:
        reading = Reading()
        reading.begin()
        reading.transaction.give(b"abc", more=True)
        await settle()
        assert not reading.bodies
        reading.transaction.give(b"", more=False)
        await settle()
        assert reading.bodies == [b"abc"]

    in_loop(test)


def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read() -> None:
    async def test() -> None:
        reading = Reading(length(LIMIT + 1))
        with pytest.raises(RouterError) as caught:
            reading.begin()
        assert (caught.value.status, caught.value.close) == (413, True)
        assert reading.transaction.receives == 0

    in_loop(test)


@pytest.mark.parametrize("headers", [length(LIMIT), None])
def test_a_body_at_the_limit_is_taken(headers: list[Field] | None) -> None:
    async def test() -> None:
        reading = Reading(headers)
        reading.begin()
        reading.transaction.give(b"x" * LIMIT)
        await settle()
        assert reading.bodies == [b"x" * LIMIT]

    in_loop(test)


def test_an_undeclared_body_over_the_limit_is_not_read_to_its_end() -> None:
    async def test() -> None:
        reading = Reading()
        reading.begin()
        for _ in range(50):
            reading.transaction.give(b"x" * 30, more=True)
        await settle()
        await settle()
        assert len(reading.bodies) == 1
        assert len(reading.bodies[0]) > LIMIT
        assert reading.transaction.receives == 4

    in_loop(test)


# --- leaving ---------------------------------------------------------------------------------------------


def test_a_client_that_leaves_in_its_body() -> None:
    async def test() -> None:
        reading = Reading(length(5))
        reading.begin()
        reading.transaction.give(b"ab", more=True)
        await settle()
        reading.transaction.leave()
        await settle()
        assert (reading.left, reading.bodies) == (1, [])

    in_loop(test)


def test_a_client_that_has_left_before_it_is_read() -> None:
    async def test() -> None:
        reading = Reading()
        reading.transaction.leave()
        reading.begin()
        assert reading.left == 1

    in_loop(test)


def test_a_body_that_ends_before_its_declared_length_is_a_leaving() -> None:
    async def test() -> None:
        reading = Reading(length(5))
        reading.begin()
        reading.transaction.give(b"ab", more=True)
        await settle()
        reading.transaction.give(b"", more=False)
        await settle()
        assert (reading.left, reading.bodies) == (1, [])

    in_loop(test)


@pytest.mark.parametrize("before", [True, False])
def test_a_watched_client_leaves(before: bool) -> None:
    async def test() -> None:
        reading = Reading(length(2))
        reading.begin()
        reading.transaction.give(b"ab", more=True)
        await settle()
        if before:
            reading.transaction.leave()
        reading.client.watch()
        # The end of the body, which nobody waited for, comes before the leaving.
        if not before:
            reading.transaction.give(b"", more=False)
            await settle()
            assert reading.left == 0
            reading.transaction.leave()
        await settle()
        assert reading.left == 1
        assert reading.bodies == [b"ab"]

    in_loop(test)


def test_watching_twice_listens_once() -> None:
    async def test() -> None:
        reading = Reading(length(2))
        reading.begin()
        reading.transaction.give(b"ab")
        await settle()
        reading.client.watch()
        reading.client.watch()
        assert reading.transaction.receives == 2
        reading.client.unwatch()
        await settle()

    in_loop(test)


def test_after_unwatch_leaving_is_not_told() -> None:
    async def test() -> None:
        reading = Reading(length(2))
        reading.begin()
        reading.transaction.give(b"ab")
        await settle()
        reading.client.watch()
        reading.transaction.leave()
        reading.client.unwatch()
        await settle()
        reading.client.watch()
        await settle()
        assert reading.left == 0

    in_loop(test)


# --- the answer ------------------------------------------------------------------------------------------


def test_a_whole_answer() -> None:
    async def test() -> None:
        reading = Reading()
        reading.begin()
        before = reading.client.started
        reading.client.answer(201, [(b"a", b"b")], b"body")
        assert (before, reading.client.started) == (False, True)
        # granian takes the last byte as the client's leaving.
        reading.transaction.leave()
        await settle()
        assert reading.left == 0
        transaction = reading.transaction
        assert (transaction.status, transaction.headers, transaction.body) == (201, [(b"a", b"b")], b"body")
        assert transaction.whole

    in_loop(test)


def test_send_tells_whether_to_wait() -> None:
    async def test() -> None:
        reading = Reading()
        reading.client.start(200, [])
        reading.transaction.stalled = True
        waits = [reading.client.send(b"x") is not None for _ in range(4)]
        assert waits == [False, False, True, True]
        reading.transaction.read()

    in_loop(test)


@pytest.mark.parametrize(
    "error", [no_worker("Nobody."), payload_too_large(5), bad_answer("broke off"), method_not_allowed("/x", "GET")]
)
@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_an_error_of_the_routers_own(error: RouterError, method: str) -> None:
    async def test() -> None:
        reading = Reading(method=method)
        reading.client.answer_error(error, b"id\xe4")
        transaction = reading.transaction
        assert transaction.whole
        assert transaction.status == error.status
        assert transaction.header(b"content-type") == b"application/json"
        assert transaction.header(b"x-request-id") == b"id\xe4"
        assert transaction.header(b"retry-after") == (b"1" if error.retry_after else None)
        assert transaction.header(b"allow") == (b"GET" if error.allow else None)
        assert transaction.header(b"connection") == (b"close" if error.close else None)
        declared = int(transaction.header(b"content-length") or b"")
        if method == "HEAD":
            assert transaction.body == b""
            assert declared > 0
        else:
            assert declared == len(transaction.body)
            told = json.loads(transaction.body)["error"]
            assert told["code"] == error.code
            assert told["message"].endswith("(request id: id\xe4)")

    in_loop(test)


def test_close_lets_go_of_the_request() -> None:
    async def test() -> None:
        reading = Reading()
        reading.begin()
        reading.client.close()
        await settle()
        assert reading.transaction.done_calls == 1
        reading.transaction.leave()
        await settle()
        assert reading.left == 0

    in_loop(test)
