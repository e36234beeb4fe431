import asyncio
import errno
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import uvloop

from controlplane.health import Outcome
from controlplane.worker_client import Answer, FetchError, WorkerClient, _explain_connecting
from shared.tls import WorkerTls
from tests.unit.controlplane.fake_worker import FakeWorker
from tests.unit.controlplane.waiting import until


def play(act: Callable[[FakeWorker], Awaitable[None]]) -> None:
    async def run() -> None:
        worker = FakeWorker()
        await worker.start()
        await act(worker)
        await worker.stop()

    asyncio.run(run())


def talk(*answer: bytes, limit: int = 100, then_close: bool = True) -> Answer:
    """Ask a server that says these bytes, a part at a time."""

    async def run() -> Answer:
        ended = asyncio.Event()

        async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                for part in answer:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not then_close:
                    await reader.read()
            writer.close()
            ended.set()

        server = await asyncio.start_server(say, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, WorkerClient(url, keep_alive=False) as client:
            try:
                return await client.get("/", limit=limit, timeout=10)
            finally:
                await ended.wait()

    return asyncio.run(run())


def failure(*answer: bytes, limit: int = 100) -> tuple[Outcome, str]:
    with pytest.raises(FetchError) as caught:
        talk(*answer, limit=limit)
    return caught.value.outcome, caught.value.reason


def test_answers_in_every_framing() -> None:
    assert talk(b"HTTP/1.1 201 X\r\ncontent-length: 3\r\n\r\na", b"bc", then_close=False) == Answer(201, b"abc")
    chunked = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert talk(chunked, then_close=False) == Answer(200, b"abc")
    assert talk(b"HTTP/1.0 200 X\r\n\r\nab", b"c") == Answer(200, b"abc")
    assert talk(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 X\r\ncontent-length: 1\r\n\r\na") == Answer(200, b"a")


def test_a_body_that_is_not_asked_for_is_not_waited_for() -> None:
    assert talk(b"HTTP/1.1 503 X\r\ncontent-length: 9\r\n\r\n", limit=0, then_close=False) == Answer(503, b"")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 X\r\ncontent-length: 101\r\n\r\n" + b"y" * 101, "the answer is larger than 100 bytes"),
        (b"HTTP/1.1 200 X\r\nx: " + b"y" * 200_000, "no HTTP answer: Receive buffer too long"),
        (b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\nabc", "connection closed before the answer"),
        (b"HTTP/1.1 200 X\r\nx: y", "connection closed before the answer"),
        (b"", "connection closed before the answer"),
    ],
)
def test_answers_that_are_too_large_or_broken_off(answer: bytes, reason: str) -> None:
    assert failure(answer) == ("failed", reason)


def test_no_http() -> None:
    outcome, reason = failure(b"SSH-2.0-OpenSSH\r\n\r\n")
    assert outcome == "failed"
    assert reason.startswith("no HTTP answer")


def test_a_connection_is_kept_and_given_up_when_the_worker_closed_it() -> None:
    async def act(worker: FakeWorker) -> None:
        async with WorkerClient(worker.url, keep_alive=True) as client:
            for _ in range(3):
                assert (await client.get("/health", limit=10, timeout=10)).status == 200
            assert worker.connections == 1
            await worker.stop()
            with pytest.raises(FetchError) as caught:
                await client.get("/health", limit=10, timeout=10)
            assert (caught.value.outcome, caught.value.reason) == ("refused", "connection refused")
            await worker.start()
            assert (await client.get("/health", limit=10, timeout=10)).status == 200

    play(act)


def test_both_event_loops() -> None:
    async def run() -> None:
        worker = FakeWorker()
        await worker.start()
        async with WorkerClient(worker.url, keep_alive=True) as client:
            assert (await client.get("/health", limit=10, timeout=10)).status == 200
        await worker.stop()

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(run())


def test_without_keep_alive_every_request_has_its_own_connection() -> None:
    async def act(worker: FakeWorker) -> None:
        async with WorkerClient(worker.url, keep_alive=False) as client:
            for _ in range(3):
                await client.get("/v1/models", limit=10_000, timeout=10)
            assert worker.connections == 3
            await until(lambda: worker.open_connections == 0)

    play(act)


def test_a_slow_answer_is_not_a_dead_worker() -> None:
    async def act(worker: FakeWorker) -> None:
        worker.hangs.add("/health")
        async with WorkerClient(worker.url, keep_alive=True) as client:
            with pytest.raises(FetchError) as caught:
                await client.get("/health", limit=0, timeout=0.2)
            assert (caught.value.outcome, caught.value.reason) == ("unclear", "no answer within 0.2 s")
            await until(lambda: worker.open_connections == 0)

    play(act)


def test_a_slow_tls_handshake_is_not_a_dead_worker() -> None:
    async def run() -> None:
        closed = asyncio.Event()

        async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
            closed.set()

        server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        # Loading the authorities takes longer than the limit where the machine is busy.
        tls = WorkerTls()
        tls.context()
        async with server, WorkerClient(f"https://127.0.0.1:{port}", keep_alive=False, tls=tls) as client:
            try:
                await client.get("/", limit=0, timeout=1)
            finally:
                # A handshake that is given up must not leave its connection open.
                await asyncio.wait_for(closed.wait(), 10)

    with pytest.raises(FetchError) as caught:
        asyncio.run(run())
    assert (caught.value.outcome, caught.value.reason) == ("unclear", "no answer within 1 s")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70])
def test_a_name_that_does_not_resolve(host: str) -> None:
    async def run() -> None:
        async with WorkerClient(f"http://{host}:1", keep_alive=False) as client:
            await client.get("/", limit=0, timeout=30)

    with pytest.raises(FetchError) as caught:
        asyncio.run(run())
    assert caught.value.outcome == "unclear"
    assert caught.value.reason.startswith("host name does not resolve")


def test_tls_where_there_is_none() -> None:
    async def run() -> None:
        async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(say, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, WorkerClient(f"https://127.0.0.1:{port}", keep_alive=False) as client:
            await client.get("/", limit=0, timeout=10)

    with pytest.raises(FetchError) as caught:
        asyncio.run(run())
    assert caught.value.outcome == "failed"
    assert caught.value.reason.startswith("TLS failed")


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "unclear", "the control plane has no file descriptor left"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "failed", "no route to host"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "failed", "connection reset by peer"),
        (OSError("Multiple exceptions"), "failed", "OSError: Multiple exceptions"),
    ],
)
def test_failures_to_connect_are_explained(error: Exception, outcome: Outcome, reason: str) -> None:
    explained = _explain_connecting(error)
    assert explained.outcome == outcome
    assert explained.reason.startswith(reason)
