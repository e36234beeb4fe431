"""Connections over TLS on real sockets, in the loop that planes run on: how they end, and what refuses them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
import uvloop

from dataplane.descriptors import Allowance
from dataplane.upstream.connection import UpstreamConnection
from dataplane.upstream.pool import Pool
from shared.tls import CHECK_INTERVAL, TlsConfig, WorkerTls
from tests.tls_worker import TlsWorker, close, close_without_notice, requires_client_certificate, server_context
from tests.unit.dataplane.listening import listener, until
from tests.unit.dataplane.upstream.fake_transport import Sink

AUTHORITY = trustme.CA()
LEAF = AUTHORITY.issue_cert("127.0.0.1")
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
OVER = ("c", "x")
LARGE = 200_000
"""Bytes: more than one read, less than what a TLS connection buffers while it is paused."""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def files(tmp_path: Path) -> TlsConfig:
    client = AUTHORITY.issue_cert("router.test")
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    return TlsConfig(str(tmp_path / "ca.pem"), str(tmp_path / "own.pem"))


def on_uvloop(test: Callable[[], Awaitable[None]]) -> None:
    faults: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        await test()

    uvloop.run(main())
    assert not faults


def pool_for(port: int, tls: WorkerTls) -> Pool:
    loop = asyncio.get_running_loop()
    allowance: Allowance[UpstreamConnection] = Allowance(9, lambda: False)
    return Pool("127.0.0.1", port, tls=tls, loop=loop, opened=lambda: None, allowance=allowance)


async def ask(connection: UpstreamConnection, sink: Sink | None = None) -> Sink:
    """Send a request and wait for the end of its answer."""
    sink = sink or Sink()
    connection.send(REQUEST, b"", sink, bodiless_answer=False)
    await until(lambda: sink.events[-1:] in OVER)
    return sink


# --- the end of an answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("told", [True, False])
def test_g_trunc_1_only_the_worker_itself_can_end_a_body_by_closing(
    files: TlsConfig, version: ssl.TLSVersion, told: bool
) -> None:
    async def test() -> None:
        context = server_context(LEAF)
        context.minimum_version = context.maximum_version = version
        with TlsWorker(context, UNTIL_CLOSE + b"answer", end=close if told else close_without_notice) as worker:
            sink = await ask(await pool_for(worker.port, WorkerTls(files)).connect(5))
            assert sink.body == b"answer"
            assert sink.events == ("hbc" if told else "hbx")
            assert sink.reason == ("" if told else "ended before it was complete")

    on_uvloop(test)


@pytest.mark.parametrize("told", [True, False])
def test_what_came_before_the_end_is_kept_while_the_client_is_slow(files: TlsConfig, told: bool) -> None:
    """The loop reads on while we are paused, and throws away what it has when the connection ends."""

    class SlowSink(Sink):
        connection: UpstreamConnection

        def on_body(self, data: bytes) -> None:
            super().on_body(data)
            self.connection.pause()

    async def test() -> None:
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (LARGE, b"x" * LARGE)
        with TlsWorker(server_context(LEAF), answer, end=close if told else close_without_notice) as worker:
            sink = SlowSink()
            sink.connection = await pool_for(worker.port, WorkerTls(files)).connect(5)
            sink.connection.send(REQUEST, b"", sink, bodiless_answer=False)
            await until(lambda: bool(sink.body))
            # The worker is done with the connection long before its client has read anything more.
            await until(lambda: worker.closed == 1)
            await asyncio.sleep(0.02)
            while sink.events[-1:] not in OVER:
                sink.connection.resume()
                await asyncio.sleep(0)
            assert len(sink.body) == LARGE
            assert sink.events == "hbc"

    on_uvloop(test)


# --- what refuses us -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_is_missing_is_told(files: TlsConfig, version: ssl.TLSVersion) -> None:
    """With TLS 1.3 our side of the handshake is over before the worker looks at the certificate."""

    async def test() -> None:
        context = requires_client_certificate(server_context(LEAF), AUTHORITY)
        context.minimum_version = context.maximum_version = version
        with TlsWorker(context, UNTIL_CLOSE) as worker:
            pool = pool_for(worker.port, WorkerTls(files._replace(client_cert=None)))
            if version is ssl.TLSVersion.TLSv1_2:
                with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                    await pool.connect(5)
            else:
                sink = await ask(await pool.connect(5))
                assert sink.events == "x"
                assert sink.reason.startswith("did not begin: TLS failed: tlsv13 alert certificate required")
            connection = await pool_for(worker.port, WorkerTls(files)).connect(5)
            assert (await ask(connection)).events[-1] == "c"

    on_uvloop(test)


def test_the_name_in_the_certificate_counts_and_can_be_given(files: TlsConfig) -> None:
    async def test() -> None:
        with TlsWorker(server_context(AUTHORITY.issue_cert("vllm.test")), UNTIL_CLOSE) as worker:
            with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for '127\.0\.0\.1'"):
                await pool_for(worker.port, WorkerTls(files)).connect(5)
            named = WorkerTls(files._replace(server_name="vllm.test"))
            assert (await ask(await pool_for(worker.port, named).connect(5))).events[-1] == "c"
            other = WorkerTls(files._replace(server_name="other.test"))
            with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'other\.test'"):
                await pool_for(worker.port, other).connect(5)

    on_uvloop(test)


def test_a_handshake_that_stands_still_is_given_up_and_its_connection_closed(files: TlsConfig) -> None:
    async def test() -> None:
        ended = asyncio.Event()

        async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
            ended.set()

        server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
        async with server:
            with pytest.raises(TimeoutError):
                await pool_for(server.sockets[0].getsockname()[1], WorkerTls(files)).connect(0.1)
            await asyncio.wait_for(ended.wait(), 10)

    on_uvloop(test)


def test_a_worker_that_speaks_no_tls_gets_nothing_in_the_clear(files: TlsConfig) -> None:
    async def test() -> None:
        received = bytearray()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.extend(await reader.read(4096))
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            with pytest.raises(ssl.SSLError):
                await pool_for(server.sockets[0].getsockname()[1], WorkerTls(files)).connect(5)
        # A handshake record of TLS, and no more.
        assert received[:2] == b"\x16\x03"
        assert b"HTTP" not in received

    on_uvloop(test)


def test_files_that_can_not_be_used_let_nobody_connect(files: TlsConfig) -> None:
    async def test() -> None:
        async with listener() as port:
            with pytest.raises(OSError, match="No such file"):
                await pool_for(port, WorkerTls(files._replace(ca_file="/no/file"))).connect(5)

    on_uvloop(test)


def test_http_1_1_is_what_is_asked_for(files: TlsConfig) -> None:
    async def test() -> None:
        context = server_context(LEAF)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with TlsWorker(context, UNTIL_CLOSE) as worker:
            connection = await pool_for(worker.port, WorkerTls(files)).connect(5)
            spoken: ssl.SSLObject = connection.transport.get_extra_info("ssl_object")
            assert spoken.selected_alpn_protocol() == "http/1.1"
            connection.abort()
            await until(lambda: worker.closed == 1)

    on_uvloop(test)


# --- replaced files --------------------------------------------------------------------------------------------


def add_an_authority(files: TlsConfig) -> None:
    assert files.ca_file is not None
    with open(files.ca_file, "ab") as file:
        file.write(trustme.CA().cert_pem.bytes())


def test_a_connection_made_with_files_since_replaced_is_not_used_again(files: TlsConfig) -> None:
    async def test() -> None:
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        clock = Clock()
        tls = WorkerTls(files, clock)
        with TlsWorker(server_context(LEAF), answer, end=None) as worker:
            pool = pool_for(worker.port, tls)
            connection = await pool.connect(5)
            for _ in range(2):
                assert (await ask(connection)).events[-1] == "c"
                assert pool.take() is connection
            add_an_authority(files)
            clock.now += CHECK_INTERVAL
            tls.refresh()
            assert (await ask(connection)).events[-1] == "c"
            assert connection.closed
            assert pool.take() is None
            assert (await ask(await pool.connect(5))).events[-1] == "c"
            assert pool.idle == 1
            pool.close()

    on_uvloop(test)
