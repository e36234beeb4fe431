"""Stands between the router and a prefill worker, and does something to the first answers to its prompts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.real.pairs import STALL

Spoil = Callable[[dict[str, Any]], None]
"""Changes what an answer hands over."""


class Spoiler:
    """`spoils` are done to one answer each, in their order; later answers pass."""

    def __init__(self, worker: str) -> None:
        self.spoils: list[Spoil] = []
        self.prefills = 0
        self._worker = worker

    def passed_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        kept = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection")}
        answer = httpx.request(method, self._worker + path, headers=kept, content=body, timeout=STALL, trust_env=False)
        content = answer.content
        if method == "POST" and answer.status_code == 200:
            self.prefills += 1
            if self.spoils:
                told = answer.json()
                self.spoils.pop(0)(told["kv_transfer_params"])
                content = json.dumps(told).encode()
        return answer.status_code, answer.headers.get("content-type", ""), content


@contextmanager
def spoiler_before(worker: str) -> Iterator[tuple[str, Spoiler]]:
    """Its URL, and itself."""
    spoiler = Spoiler(worker)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                status, kind, content = spoiler.passed_on(self.command, self.path, dict(self.headers), body)
            except httpx.TransportError:
                # As the worker itself would: it is gone.
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", spoiler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
