"""Workers that are reached over https: who proves what to whom, alike on every connection to them."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import trustme

from shared.tls import CLIENT_CERT_FLAG
from tests.integration.routers import Router, eventually, free_ports
from tests.tls_worker import requires_client_certificate, server_context

MODELS = json.dumps({"object": "list", "data": [{"id": "secret-model", "object": "model"}]}).encode()
LOAD = b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n"
BODY = b'{"model": "secret-model", "n":1}'


class _Worker(BaseHTTPRequestHandler):
    """Answers every GET with its models and every POST with what was sent."""

    protocol_version = "HTTP/1.1"
    server: Worker

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self._client()))
        if self.path == "/health" and self.server.redirect:
            self.send_response(307)
            self.send_header("location", self.server.redirect)
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            self._answer(LOAD if self.path == "/metrics" else MODELS)

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self._client()))
        self._answer(self.rfile.read(int(self.headers["content-length"])))

    def _client(self) -> str:
        """The name in the client's certificate; empty when it showed none."""
        found = self.request.getpeercert() if isinstance(self.request, ssl.SSLSocket) else None
        names = (found or {}).get("subjectAltName", ())
        return str(names[0][1]) if names else ""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        if not self.server.keeps_alive:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Worker(ThreadingHTTPServer):
    """A server whose context (None: plain HTTP) may be changed at any time; it remembers who asked for what."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Worker)
        self.context = context
        self.redirect = ""
        self.keeps_alive = True
        self.asked: list[tuple[str, str]] = []
        self.connections = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, object]:
        plain, address = super().get_request()
        self.connections += 1
        plain.settimeout(10)
        if self.context is None:
            return plain, address
        # The handshake belongs into the connection's thread, where its failure is one client's.
        return self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: object, client_address: object) -> None:
        """Expect clients that do not like the certificate."""

    def clients(self, path: str) -> set[str]:
        """The names of the certificates that were shown with requests for a path."""
        return {client for asked, client in self.asked if asked == path}


@contextmanager
def running(context: ssl.SSLContext | None) -> Iterator[Worker]:
    worker = Worker(context)
    thread = threading.Thread(target=worker.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield worker
    finally:
        worker.shutdown()
        thread.join()
        worker.server_close()


@contextmanager
def router_for(tmp_path: Path, url: str, *arguments: str) -> Iterator[Router]:
    router = Router(
        tmp_path,
        "--data-planes=1",
        "--worker-startup-check-interval=1",
        "--health-check-interval-secs=1",
        *arguments,
        "--worker-urls",
        url,
    )
    try:
        yield router.start()
    finally:
        router.close()


def status(router: Router) -> tuple[str, str]:
    """The worker's state and the reason for it."""
    try:
        found = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).json()
    except httpx.HTTPError:
        return "", ""
    return found["workers"][0]["state"], found["workers"][0]["reason"]


def ask(router: Router) -> httpx.Response:
    return httpx.post(f"{router.url}/v1/completions", content=BODY, trust_env=False, timeout=30)


class Identity:
    """An authority and a client certificate of it, in files that can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.own = folder / "own.pem"
        self.trust(self.authority)
        self.become("router.test")

    def trust(self, *authorities: trustme.CA) -> None:
        self.put(self.ca, b"".join(authority.cert_pem.bytes() for authority in authorities))

    def become(self, name: str) -> None:
        self.put(self.own, self.authority.issue_cert(name).private_key_and_cert_chain_pem.bytes())

    @staticmethod
    def put(path: Path, content: bytes) -> None:
        """Replace a file in one step."""
        new = path.with_suffix(".new")
        new.write_bytes(content)
        os.replace(new, path)


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity(tmp_path)


def test_https_forwards_when_the_certificate_is_trusted(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(identity.ca))
    with (
        running(server_context(identity.authority.issue_cert("127.0.0.1"))) as worker,
        router_for(tmp_path, f"https://127.0.0.1:{worker.port}") as router,
    ):
        router.ready()
        with httpx.Client(base_url=router.url, trust_env=False) as client:
            for body in (b'{"model":"secret-model"}', BODY):
                assert client.post("/v1/completions", content=body).content == body


@pytest.mark.parametrize("fault", ["authority", "name"])
def test_https_is_refused_when_it_proves_nothing(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    # What the system trusts is of no use once the operator has named an authority.
    monkeypatch.setenv("SSL_CERT_FILE", str(identity.ca))
    arguments = []
    if fault == "authority":
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
        arguments = [f"--worker-ca-file={tmp_path / 'other.pem'}"]
    name = "127.0.0.1" if fault == "authority" else "elsewhere.test"
    with (
        running(server_context(identity.authority.issue_cert(name))) as worker,
        router_for(tmp_path, f"https://127.0.0.1:{worker.port}", *arguments) as router,
    ):
        eventually(lambda: "TLS failed" in status(router)[1], "the reason")
        flag = "--worker-ca-file" if fault == "authority" else "--worker-server-name"
        assert flag in status(router)[1]
        eventually(lambda: any("serves" in line for line in router.supervisor_lines), "the plane")
        assert httpx.get(f"{router.url}/readiness", trust_env=False).status_code == 503
        assert worker.asked == []


def test_g_tls_1_every_connection_shows_the_client_certificate_and_trusts_the_own_authority(
    tmp_path: Path, identity: Identity
) -> None:
    context = requires_client_certificate(
        server_context(identity.authority.issue_cert("vllm.test")), identity.authority
    )
    ca, own = os.path.relpath(identity.ca), os.path.relpath(identity.own)
    arguments = (f"--worker-ca-file={ca}", f"--worker-client-cert={own}", "--worker-server-name=vllm.test")
    with (
        running(context) as worker,
        router_for(tmp_path, f"https://127.0.0.1:{worker.port}", *arguments) as router,
    ):
        router.ready()
        assert ask(router).content == BODY
        eventually(lambda: bool(worker.clients("/metrics")), "a scrape")
        for path in ("/health", "/v1/models", "/version", "/metrics", "/v1/completions"):
            assert worker.clients(path) == {"router.test"}, path


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_g_tls_2_a_missing_client_certificate_is_told_and_costs_a_bounded_number_of_attempts(
    tmp_path: Path, identity: Identity, version: ssl.TLSVersion
) -> None:
    """With TLS 1.3 it shows after the handshake, as a connection that closes before the answer: no keep-alive race."""
    context = server_context(identity.authority.issue_cert("127.0.0.1"))
    strict = requires_client_certificate(server_context(identity.authority.issue_cert("127.0.0.1")), identity.authority)
    strict.minimum_version = strict.maximum_version = version
    url_of = "https://127.0.0.1:{}".format
    arguments = (f"--worker-ca-file={identity.ca}", "--health-check-interval-secs=60", "--load-interval-ms=60000")
    with running(context) as worker, router_for(tmp_path, url_of(worker.port), *arguments) as router:
        router.ready()
        assert ask(router).content == BODY
        worker.context, worker.keeps_alive = strict, False
        before = worker.connections
        # A kept connection answers once more; without one the worker refuses us.
        eventually(lambda: ask(router).status_code == 503, "the refusal")
        eventually(lambda: status(router)[0] == "unhealthy", "the worker to be out")
        assert CLIENT_CERT_FLAG in status(router)[1]
        # Five attempts of one request and a few looks of the control plane; an endless retry would make thousands.
        assert worker.connections - before < 50
        refused = ask(router)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        lines = [line for line in router.errors.splitlines() if "request " in line and "TLS failed" in line]
        assert lines, router.errors
        # The control plane went on: it is the process that it was.
        assert router.errors.count("started the control plane") == 1


def test_g_tls_3_replaced_files_are_taken_up_and_broken_ones_are_not(tmp_path: Path, identity: Identity) -> None:
    other = trustme.CA()
    old, new = (server_context(authority.issue_cert("127.0.0.1")) for authority in (identity.authority, other))
    requires_client_certificate(old, identity.authority)
    requires_client_certificate(new, identity.authority)
    arguments = (f"--worker-ca-file={identity.ca}", f"--worker-client-cert={identity.own}")
    with running(old) as worker, router_for(tmp_path, f"https://127.0.0.1:{worker.port}", *arguments) as router:
        router.ready()
        assert ask(router).status_code == 200
        # A client certificate that has expired is replaced by the next one.
        identity.become("next.test")
        for path in ("/health", "/metrics", "/v1/completions"):
            eventually(partial(lambda path: ask(router).is_success and "next.test" in worker.clients(path), path), path)
        # A file that is broken changes nothing.
        own = identity.own.read_bytes()
        # In one step: who looks while it is written sees another fault, and tells of both.
        identity.put(identity.own, own[:100])
        eventually(lambda: router.errors.count("with what it was before") == 2, "the plane's and the control plane's")
        asked = len(worker.asked)
        eventually(lambda: ask(router).is_success and len(worker.asked) > asked + 10, "further requests")
        assert status(router)[0] == "ready"
        assert router.errors.count("with what it was before") == 2
        identity.own.write_bytes(own)
        # The workers move to another authority: both are trusted for a while, then the new one only.
        identity.trust(identity.authority, other)
        eventually(lambda: router.errors.count(f"are in use: {identity.ca}") >= 2, "both authorities")
        worker.context, worker.keeps_alive = new, False
        connections = worker.connections
        eventually(lambda: ask(router).is_success and worker.connections > connections + 3, "new connections")
        # A look that came between the two changes may have failed.
        eventually(lambda: status(router)[0] == "ready", "the worker to be well")
        assert ask(router).status_code == 200
        identity.trust(identity.authority)
        eventually(lambda: "--worker-ca-file" in status(router)[1], "the refusal of what is no longer trusted")
        eventually(lambda: ask(router).status_code == 503, "no request on connections of before")


def test_g_tls_4_https_is_never_left_for_http(tmp_path: Path, identity: Identity) -> None:
    with (
        running(None) as plain,
        running(server_context(identity.authority.issue_cert("127.0.0.1"))) as worker,
        router_for(
            tmp_path, f"https://127.0.0.1:{worker.port}", f"--worker-ca-file={identity.ca}", "--retry-max-retries=1"
        ) as router,
    ):
        worker.redirect = f"http://127.0.0.1:{plain.port}/health"
        eventually(lambda: "GET /health answered 307" in status(router)[1], "the reason")
        assert plain.connections == 0
        worker.redirect = ""
        router.ready()
        assert ask(router).status_code == 200
        # The same port without TLS: nothing is sent there in the clear.
        worker.context = None
        worker.asked.clear()
        eventually(lambda: ask(router).status_code == 503, "the refusal")
        eventually(lambda: "does the worker speak TLS?" in status(router)[1], "the reason")
        assert plain.connections == 0


def test_paths_reach_planes_and_contents_stay_in_their_files(tmp_path: Path, identity: Identity) -> None:
    (port,) = free_ports(1)
    arguments = (f"--worker-ca-file={identity.ca}", f"--worker-client-cert={identity.own}", "--log-level=debug")
    with router_for(tmp_path, f"https://127.0.0.1:{port}", *arguments) as router:
        eventually(lambda: "refused" in status(router)[1], "the control plane")
        secret = identity.own.read_bytes().splitlines()[1]
        for path in (*router.runtime.path.rglob("*"), *tmp_path.glob("err-*"), *tmp_path.glob("out-*")):
            if path.is_file():
                assert secret not in path.read_bytes(), path
        for pid in router.plane_pids():
            assert secret not in Path(f"/proc/{pid}/cmdline").read_bytes()
