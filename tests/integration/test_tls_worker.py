"""A worker that is reached over https: its certificate counts, and so does its name."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import trustme

from tests.integration.routers import Router, eventually

MODELS = json.dumps({"object": "list", "data": [{"id": "secret-model", "object": "model"}]}).encode()


class _Worker(BaseHTTPRequestHandler):
    """Answers every GET with its models and every POST with what was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(MODELS)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"])))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Expect clients that do not like the certificate."""


@contextmanager
def tls_worker(certificate: trustme.LeafCert) -> Iterator[int]:
    """A worker that speaks TLS; yields its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    server = _Server(("127.0.0.1", 0), _Worker)
    # The handshake belongs into the connection's thread, where its failure is one client's.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def router_for(tmp_path: Path, url: str) -> Iterator[Router]:
    router = Router(tmp_path, "--data-planes=1", "--worker-startup-check-interval=1", "--worker-urls", url)
    try:
        yield router.start()
    finally:
        router.close()


def test_https_forwards_when_the_certificate_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with (
        tls_worker(authority.issue_cert("127.0.0.1")) as port,
        router_for(tmp_path, f"https://127.0.0.1:{port}") as router,
    ):
        router.ready()
        with httpx.Client(base_url=router.url, trust_env=False) as client:
            for body in (b'{"model":"secret-model"}', b'{"model": "secret-model", "n":1}'):
                assert client.post("/v1/completions", content=body).content == body


@pytest.mark.parametrize("fault", ["authority", "name"])
def test_https_is_refused_when_it_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    authority, other = trustme.CA(), trustme.CA()
    (other if fault == "authority" else authority).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    name = "127.0.0.1" if fault == "authority" else "elsewhere.test"
    with tls_worker(authority.issue_cert(name)) as port, router_for(tmp_path, f"https://127.0.0.1:{port}") as router:

        def reason() -> str:
            try:
                status = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).json()
            except httpx.HTTPError:
                return ""
            return str(status["workers"][0]["reason"])

        eventually(lambda: "TLS failed" in reason(), "the reason")
        assert httpx.get(f"{router.url}/readiness", trust_env=False).status_code == 503
