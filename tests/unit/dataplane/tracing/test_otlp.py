"""What a collector gets: OpenTelemetry's own messages, with what the environment says of keys, over HTTP."""

from __future__ import annotations

import gzip
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.sdk.resources import Resource

from dataplane.tracing.context import Trace
from dataplane.tracing.otlp import Batch, Collector, CollectorError, TimeLeft
from dataplane.tracing.spans import Span
from shared.version import __version__
from tests.tls_worker import server_context
from tests.unit.dataplane.listening import refusing_port

TRACE = Trace(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, lambda bits: 5)
ROOT = Span("POST /v1/completions", "server", 5, 0xB7AD6B7169203331, 10.0, 10.25, {"a": "b", "c": 3, "d": 0.5})
CHILD = Span("wait", "internal", 0, 5, 10.125, 10.25, {}, "status 503")


class Got(NamedTuple):
    headers: dict[str, str]
    body: bytes


@contextmanager
def answering(
    *statuses: int, context: ssl.SSLContext | None = None, held: threading.Event | None = None
) -> Iterator[tuple[str, list[Got]]]:
    """Answer with these statuses, one after the other, then with the last of them; not before `held` is set."""
    got: list[Got] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status = statuses[min(len(got), len(statuses) - 1)]
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(Got({name.lower(): value for name, value in self.headers.items()}, body))
            if held is not None:
                held.wait(30)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}/v1/traces", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def batch() -> Batch:
    found = Batch(Resource.create({"service.name": "routerctl"}), 1000.0, random.Random(1))
    found.add(ROOT, TRACE)
    found.add(CHILD, TRACE)
    return found


@contextmanager
def collector(url: str, closing: threading.Event | None = None) -> Iterator[Collector]:
    found = Collector(url, "plane 1", 1000.0, closing or threading.Event())
    try:
        yield found
    finally:
        found.close()


def test_spans_are_opentelemetrys() -> None:
    (group,) = ExportTraceServiceRequest.FromString(batch().encoded()).resource_spans
    assert {one.key: one.value.string_value for one in group.resource.attributes}["service.name"] == "routerctl"
    (scope,) = group.scope_spans
    assert (scope.scope.name, scope.scope.version) == ("routerctl", __version__)
    root, child = scope.spans
    assert root.trace_id == child.trace_id == bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    assert root.parent_span_id == bytes.fromhex("b7ad6b7169203331")
    assert root.span_id == child.parent_span_id == bytes(7) + b"\5"
    assert len(child.span_id) == 8
    assert any(child.span_id)
    assert (root.name, root.kind, child.kind) == (ROOT.name, Message.SPAN_KIND_SERVER, Message.SPAN_KIND_INTERNAL)
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (1_010_000_000_000, 1_010_250_000_000)
    # Sampled; it is known that the parent is remote, or that it is not.
    assert (root.flags, child.flags) == (0x301, 0x101)
    assert [(one.key, one.value.WhichOneof("value")) for one in root.attributes] == [
        ("a", "string_value"),
        ("c", "int_value"),
        ("d", "double_value"),
    ]
    assert not root.HasField("status")
    assert (child.status.code, child.status.message) == (2, "status 503")


def test_a_request_without_a_parent_begins_its_trace() -> None:
    found = Batch(Resource.create({}), 0.0, random.Random(1))
    found.add(ROOT._replace(parent_id=0), TRACE)
    (root,) = ExportTraceServiceRequest.FromString(found.encoded()).resource_spans[0].scope_spans[0].spans
    assert root.parent_span_id == b""
    assert root.flags == 0x101


def test_the_environment_says_how_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, x-other=c")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with answering(200) as (url, got), collector(url) as found:
        one = found.batch()
        one.add(ROOT, TRACE)
        assert found.send(one) == ""
    (message,) = got
    assert message.headers["x-key"] == "a b"
    assert message.headers["x-other"] == "c"
    assert message.headers["content-type"] == "application/x-protobuf"
    assert message.headers["content-encoding"] == "gzip"
    (group,) = ExportTraceServiceRequest.FromString(gzip.decompress(message.body)).resource_spans
    told = {attribute.key: attribute.value.string_value for attribute in group.resource.attributes}
    assert told["deployment.environment"] == "test"
    assert told["service.instance.id"] == "plane 1"


def test_what_is_for_traces_alone_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=all")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key=traces")
    with answering(200) as (url, got), collector(url) as found:
        assert found.send(batch()) == ""
    assert got[0].headers["x-key"] == "traces"


def test_a_collector_that_is_busy_is_asked_again() -> None:
    with answering(503, 200) as (url, got), collector(url) as found:
        assert found.send(batch()) == ""
    assert len(got) == 2
    assert got[0].body == got[1].body


@pytest.mark.parametrize("status", [302, 400, 401, 500])
def test_one_that_refuses_is_not_asked_again(status: int) -> None:
    with answering(status) as (url, got), collector(url) as found:
        assert found.send(batch()) == f"it answers with status {status}"
    assert len(got) == 1


def test_nothing_is_repeated_once_the_plane_ends() -> None:
    closing = threading.Event()
    closing.set()
    with answering(503) as (url, got), collector(url, closing) as found:
        assert found.send(batch()) == "it answers with status 503"
    assert len(got) == 1


def ending() -> threading.Event:
    """Nothing is sent again."""
    closing = threading.Event()
    closing.set()
    return closing


def test_it_says_that_nobody_listens() -> None:
    with refusing_port() as port, collector(f"http://127.0.0.1:{port}/v1/traces", ending()) as found:
        assert "Connection refused" in found.send(batch())


def test_it_says_that_no_answer_came() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, collector(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces") as found:
        assert found.send(batch(), 0.1) == "no answer in 0.1 s"


def test_the_steps_of_a_message_have_its_time_together() -> None:
    """httpx asks for a step's time as the step begins, and for that of a repetition as well."""
    now = 100.0
    left = TimeLeft(5.0, lambda: now)
    assert left.get("connect") == 5.0
    now = 104.5
    assert left.get("read") == left.seconds == 0.5
    now = 106.0
    assert left.get("read") > 0.0, "a socket that may not wait says that it has nothing, not that time is up"


@contextmanager
def speaking(head: bytes, rest: Iterator[bytes]) -> Iterator[str]:
    """Answer one message in these pieces, until its sender has enough of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while b"\r\n\r\n" not in connection.recv(65536):
                    pass
                connection.sendall(head)
                for piece in rest:
                    connection.sendall(piece)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1/traces"
        thread.join()


def drops() -> Iterator[bytes]:
    for _ in range(3000):
        time.sleep(0.01)
        yield b"."


def test_an_answer_that_never_ends_counts_by_its_status() -> None:
    """And does not hold the thread: nobody waits for what comes drop by drop."""
    fallen = 0

    def counted() -> Iterator[bytes]:
        nonlocal fallen
        for drop in drops():
            fallen += 1
            yield drop

    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    with speaking(head, counted()) as url, collector(url, ending()) as found:
        assert found.send(batch(), 1.0) == ""
    assert fallen < 3000, "it was left before its end"


@pytest.mark.parametrize(
    ("answer", "is_taken"),
    [
        (b"HTTP/1.1 two hundred\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnope\r\n", True),
    ],
)
def test_an_answer_that_can_not_be_read_is_no_end_of_the_thread(answer: bytes, is_taken: bool) -> None:
    with speaking(answer, iter(())) as url, collector(url, ending()) as found:
        assert (found.send(batch()) == "") is is_taken


def test_it_says_which_certificate_is_not_trusted() -> None:
    context = server_context(trustme.CA().issue_cert("127.0.0.1"))
    with answering(200, context=context) as (url, _), collector(url, ending()) as found:
        why = found.send(batch())
    assert "certificate verify failed" in why


@pytest.mark.parametrize("name", ["CERTIFICATE", "CLIENT_CERTIFICATE"])
@pytest.mark.parametrize("content", ["no certificate", None])
def test_a_certificate_that_can_not_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None
) -> None:
    broken = tmp_path / "broken.pem"
    if content is not None:
        broken.write_text(content)
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", str(broken))
    with pytest.raises(CollectorError, match=r"broken\.pem: see OTEL_EXPORTER_OTLP_CERTIFICATE"):
        Collector("http://127.0.0.1:1/v1/traces", "plane 1", 0.0, threading.Event())
