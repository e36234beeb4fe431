"""G-EDGE-4, HTTP/2 clients: nothing that HTTP/2 lets a frame carry becomes a line of a worker's HTTP/1.1."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Self

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

from tests.faults.raw_worker import PATIENCE, RawClient, RawWorker
from tests.faults.smuggling_http2 import CASES, Case
from tests.integration.routers import Router, router_before

_numbers = count(1)


class Http2Client:
    """Speaks HTTP/2 in cleartext from the first byte, and checks nothing of what it sends."""

    def __init__(self, port: int) -> None:
        self._stream = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._connection = H2Connection(
            H2Configuration(
                client_side=True,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                header_encoding=None,
            )
        )
        self._connection.initiate_connection()
        self._flush()

    def _flush(self) -> None:
        with suppress(ConnectionError):
            self._stream.sendall(self._connection.data_to_send())

    def ask(self, case: Case) -> tuple[bytes, bytes] | None:
        """Return the answer's status and body; None when the router reset the stream or closed the connection."""
        number = self._connection.get_next_available_stream_id()
        self._connection.send_headers(number, case.fields, end_stream=not case.data)
        for place, data in enumerate(case.data):
            last = place == len(case.data) - 1
            self._connection.send_data(number, data, end_stream=last and not case.trailers)
        if case.trailers:
            self._connection.send_headers(number, case.trailers, end_stream=True)
        self._flush()
        status = body = b""
        while True:
            try:
                received = self._stream.recv(65536)
            except ConnectionError:
                return None
            if not received:
                return None
            for event in self._connection.receive_data(received):
                match event:
                    case ResponseReceived(headers=headers):
                        status = dict(headers)[b":status"]
                    case DataReceived(data=data):
                        body += data
                    case StreamEnded():
                        return status, body
                    case StreamReset() | ConnectionTerminated():
                        return None
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


@pytest.fixture(scope="module")
def worker() -> Iterator[RawWorker]:
    with RawWorker() as one:
        yield one
        one.saw_nothing_hidden()


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, worker: RawWorker) -> Iterator[Router]:
    with router_before(tmp_path_factory.mktemp("router"), [worker.url]) as one:
        yield one


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_g_edge_4_one_reading_or_none(case: Case, router: Router, worker: RawWorker) -> None:
    known = len(worker.requests)
    target = b"/canary/%d" % next(_numbers)
    canary = Case(
        "canary", ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"r"), (b":path", target)), ()
    )
    with Http2Client(router.port) as client:
        answer = client.ask(case)
        if case.seen is None:
            assert answer is None or answer[0] in (b"400", b"413")
        else:
            assert answer == (b"200", b"%b %b %b" % case.seen)
            assert client.ask(canary) == (b"200", b"GET %b " % target)
    with RawClient(router.port) as plain:
        after = plain.ask(target.decode())
    assert after is not None
    assert after.body == b"GET %b " % target
    seen = [(*request.start, request.body) for request in worker.requests[known:]]
    assert [one for one in seen if one[1] != target] == ([case.seen] if case.seen else [])
    assert worker.violations == []
