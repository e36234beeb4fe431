"""WebSockets: the handshake is a request like any other, and either side's end is the other side's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from dataplane.client_keys import Holder
from dataplane.socket_client import SocketClient
from shared import websocket
from shared.client_keys import ClientKey
from shared.websocket import BINARY, CLOSE, PING, PONG, TEXT, Message, Reader, accept_of, close_payload, encode
from tests.unit.dataplane.fake_socket import KEY, FakeSocket
from tests.unit.dataplane.forward_bench import Bench, Run, close_at_once, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked, Script

Talk = Callable[["Side"], Awaitable[None]]


class Side:
    """The worker's side after the handshake."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._reader = Reader(masked=True, most=1 << 20)
        self.heard: list[Message] = []

    async def send(self, opcode: int, payload: bytes) -> None:
        await self._asked.write(encode(opcode, payload))

    async def raw(self, data: bytes) -> None:
        await self._asked.write(data)

    async def hear(self) -> Message:
        """The next message of the client's; a frame without a mask would be refused here."""
        while not self.heard:
            data = await self._asked._reader.read(65_536)
            if not data:
                raise ConnectionError
            self.heard += self._reader.feed(data)
        return self.heard.pop(0)

    async def close(self) -> None:
        await self._asked.close()


def agreeing(talk: Talk, *, key: bytes = KEY, fields: bytes = b"") -> Script:
    async def script(asked: Asked) -> None:
        assert asked.field(b"upgrade") == b"websocket"
        assert asked.field(b"connection") == b"Upgrade"
        assert asked.field(b"sec-websocket-extensions") is None
        assert asked.field(b"x-request-id") == b"mine"
        await asked.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept_of(key), fields)
        )
        with suppress(ConnectionError):
            await talk(Side(asked))

    return script


def ask(bench: Bench, *, key: Holder | None = None, **given: object) -> FakeSocket:
    socket = FakeSocket(**given)  # type: ignore[arg-type]
    client = SocketClient(socket)
    client.key = key
    bench.forwarder.forward(client)
    return socket


async def over(bench: Bench, socket: FakeSocket) -> None:
    """Wait until nothing is left of it."""
    await until(lambda: socket.done_calls == 1 and not bench.forwarder._requests)
    assert bench.inflight() == 0
    accounting = bench.accounting
    assert accounting.active == 0
    # The bench's own check of what it has asked is for requests that are answered.
    accounting.accepted = accounting.finished = 0
    accounting.rejected.clear()
    accounting.aborted_in.clear()


async def echo(side: Side) -> None:
    while True:
        message = await side.hear()
        await side.send(message.opcode, message.payload)
        if message.opcode == CLOSE:
            await side.close()
            return


def test_messages_go_both_ways_and_the_clients_close_is_the_workers(run: Run) -> None:
    heard: list[Message] = []

    async def talk(side: Side) -> None:
        await side.send(TEXT, b"first")
        for _ in range(3):
            heard.append(await side.hear())
            await side.send(heard[-1].opcode, heard[-1].payload)
        heard.append(await side.hear())

    async def test(bench: Bench) -> None:
        async with workers(agreeing(talk)) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench)
            for number in range(3):
                socket.say(str(number))
            await until(lambda: len(socket.texts) == 4)
            socket.leave(4001)
            await until(lambda: len(heard) == 4)
            assert socket.texts == ["first", "0", "1", "2"]
            assert heard[-1] == Message(CLOSE, close_payload(4001))
            assert socket.most_at_once == 1
            assert bench.accounting.requests == {("/v1/realtime", "GET", "", 101, ""): 1}
            await over(bench, socket)

    run(test)


@pytest.mark.parametrize("model", ["m", "other"])
def test_a_session_may_name_no_model_that_its_key_is_not_for(run: Run, model: str) -> None:
    """Not even once the worker has agreed: it gets nothing of such a message, and the socket is closed for policy."""
    heard: list[Message] = []
    key = Holder(ClientKey(name="alice", digest=bytes(32), models=("m",)))

    async def talk(side: Side) -> None:
        await side.send(TEXT, b"first")
        while True:
            heard.append(await side.hear())

    async def test(bench: Bench) -> None:
        async with workers(agreeing(talk)) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench, key=key, query=b"model=m")
            socket.say('{"type":"input_audio_buffer.append","audio":""}')
            await until(lambda: len(heard) == 1)
            socket.say(f'{{"type":"session.update","model":"{model}"}}')
            if model == "m":
                await until(lambda: len(heard) == 2)
                socket.leave()
                cause = ""
            else:
                await until(lambda: socket.closed_with is not None)
                assert (socket.closed_with, socket.sent[-1]["reason"]) == (websocket.POLICY, "model_not_allowed")
                assert len(heard) == 1
                cause = "model_not_allowed"
            await until(lambda: bool(bench.accounting.requests))
            status = 403 if cause else 101
            assert bench.accounting.requests == {("/v1/realtime", "GET", "m", status, cause): 1}
            assert bench.accounting.worker_failures == {}
            await over(bench, socket)

    run(test)


def test_the_workers_close_is_the_clients_also_when_the_connection_ends_with_it(run: Run) -> None:
    async def talk(side: Side) -> None:
        await side.raw(encode(TEXT, b"last words") + encode(CLOSE, close_payload(4002, "enough")))
        await side.close()

    async def test(bench: Bench) -> None:
        async with workers(agreeing(talk)) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench)
            await until(lambda: socket.closed_with is not None)
            assert socket.kinds == ["accept", "send", "close"]
            assert (socket.closed_with, socket.sent[-1]["reason"]) == (4002, "enough")
            await over(bench, socket)

    run(test)


async def dies(side: Side) -> None:
    await side.send(TEXT, b"one")
    await side.close()


async def masks(side: Side) -> None:
    await side.raw(encode(TEXT, b"one") + encode(TEXT, b"two", mask=b"abcd"))
    await side.hear()


async def is_no_text(side: Side) -> None:
    await side.raw(encode(TEXT, b"one") + encode(TEXT, b"\xff"))
    await side.hear()


async def closes_wrongly(side: Side) -> None:
    await side.raw(encode(TEXT, b"one") + encode(CLOSE, b"\x00\x01"))
    await side.hear()


@pytest.mark.parametrize("talk", [dies, masks, is_no_text, closes_wrongly])
def test_a_worker_that_dies_or_breaks_the_protocol_closes_the_client_with_1011(run: Run, talk: Talk) -> None:
    async def test(bench: Bench) -> None:
        async with workers(agreeing(talk)) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench)
            await until(lambda: socket.closed_with is not None)
            assert socket.texts == ["one"] or talk is masks
            assert socket.closed_with == websocket.INTERNAL_ERROR
            assert bench.accounting.errors == {("worker", "truncated"): 1}
            await over(bench, socket)

    run(test)


def test_pings_of_the_worker_are_answered_here(run: Run) -> None:
    heard: list[Message] = []

    async def talk(side: Side) -> None:
        await side.send(PING, b"there?")
        heard.append(await side.hear())
        await side.send(BINARY, b"\x00")
        await side.hear()

    async def test(bench: Bench) -> None:
        async with workers(agreeing(talk)) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench)
            await until(lambda: "send" in socket.kinds)
            assert heard == [Message(PONG, b"there?")]
            assert socket.sent[-1]["bytes"] == b"\x00"
            socket.leave()
            await over(bench, socket)

    run(test)


def test_a_client_that_does_not_read_stops_the_worker(run: Run) -> None:
    written = 0

    async def talk(side: Side) -> None:
        nonlocal written
        for number in range(2_000):
            await side.send(TEXT, b"%06d" % number + b"x" * 20_000)
            written = number + 1
        await side.hear()

    async def test(bench: Bench) -> None:
        async with workers(agreeing(talk)) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench)
            await until(lambda: socket.kinds == ["accept"] or len(socket.sent) > 1)
            socket.stalled = True
            before, still = -1, 0
            # Sockets' own buffers fill up, and then nothing moves any more.
            while still < 20:
                await asyncio.sleep(0.01)
                before, still = written, still + 1 if written == before else 0
            assert written < 2_000
            socket.read()
            await until(lambda: len(socket.texts) == 2_000)
            assert [int(text[:6]) for text in socket.texts] == list(range(2_000))
            assert socket.most_at_once == 1
            socket.leave()
            await over(bench, socket)

    run(test)


def test_a_wrong_key_is_refused_before_the_client_is_accepted(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(agreeing(echo, key=b"another")) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench)
            await until(lambda: socket.done_calls == 1)
            assert socket.kinds == ["http.response.start", "http.response.body"]
            assert socket.sent[0]["status"] == 502
            assert bench.accounting.rejected == {"bad_worker_answer": 1}
            await over(bench, socket)

    run(test)


def test_a_subprotocol_is_the_one_that_the_worker_chose(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(agreeing(echo, fields=b"Sec-WebSocket-Protocol: b\r\n")) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench, protocols=("a", "b"))
            await until(lambda: bool(socket.sent))
            assert socket.sent[0]["subprotocol"] == "b"
            socket.leave()
            await over(bench, socket)

    run(test)


async def refuses(asked: Asked) -> None:
    await asked.answer(b'{"detail":"Forbidden"}', status=403, fields=b"content-type: application/json\r\n")


async def refuses_in_chunks(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n")
    await asked.chunk(b'{"detail":')
    await asked.chunk(b'"Forbidden"}')
    await asked.end()


@pytest.mark.parametrize("script", [refuses, refuses_in_chunks])
def test_a_refusal_is_the_workers_own(run: Run, script: Script) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench)
            await until(lambda: socket.done_calls == 1)
            assert (socket.sent[0]["status"], socket.sent[1]["body"]) == (403, b'{"detail":"Forbidden"}')
            await over(bench, socket)

    run(test)


def test_a_handshake_is_retried_where_a_get_is(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(close_at_once, agreeing(echo)) as (closing, well):
            bench.serve(closing.url, well.url)
            socket = ask(bench)
            socket.say("there")
            await until(lambda: socket.texts == ["there"])
            assert bench.accounting.retries == {"closed-before-answer": 1}
            socket.leave()
            await over(bench, socket)

    run(test)


def test_nobody_is_an_ordinary_refusal(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.serve()
        socket = ask(bench)
        await until(lambda: socket.done_calls == 1)
        assert socket.sent[0]["status"] == 503
        await over(bench, socket)

    run(test)


@pytest.mark.parametrize(("is_last", "code"), [(False, 1011), (True, 1001)])
def test_the_routers_own_end_closes_both_sides(run: Run, is_last: bool, code: int) -> None:
    async def test(bench: Bench) -> None:
        async with workers(agreeing(echo)) as (worker,):
            bench.serve(worker.url)
            socket = ask(bench)
            socket.say("there")
            await until(lambda: socket.texts == ["there"])
            (request,) = bench.forwarder._requests
            request.client.is_last = is_last
            bench.forwarder.interrupt_all()
            assert socket.closed_with == code
            await until(lambda: worker.open == 0)
            await over(bench, socket)

    run(test)
