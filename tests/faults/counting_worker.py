"""A worker that counts how many requests it has at a time: the other end's own view of a limit."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ANSWER = b'{"id":"x","choices":[{"text":"x"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
_PAGES = {"/health": b"", "/v1/models": b'{"object":"list","data":[{"id":"sim-model","object":"model"}]}'}


class CountingWorker:
    """What the worker has seen: `now` are there, `peak` is the most at a time, `begun` has when each request came.

    Answers wait while `answers` is not set.
    """

    def __init__(self, seconds: float) -> None:
        """Take so many seconds for an answer."""
        self.seconds = seconds
        self.url = ""
        self._lock = threading.Lock()
        self.now = 0
        self.peak = 0
        self.begun: list[float] = []
        self.answers = threading.Event()
        self.answers.set()

    def work(self) -> None:
        """Do one request."""
        with self._lock:
            self.now += 1
            self.peak = max(self.peak, self.now)
            self.begun.append(time.monotonic())
        self.answers.wait()
        time.sleep(self.seconds)
        with self._lock:
            # Before the answer: its last byte is what gives the place to the next one.
            self.now -= 1

    def forget(self) -> None:
        """Count from now on."""
        with self._lock:
            self.peak, self.begun = self.now, []


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    worker: CountingWorker

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: routers are killed while they are answered."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A head and a body are two packets, and the second waits for the first one's receipt.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        page = _PAGES.get(self.path)
        self._answer(404 if page is None else 200, page or b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, _Server)
        self.server.worker.work()
        self._answer(200, _ANSWER)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


@contextmanager
def counting_worker(seconds: float) -> Iterator[CountingWorker]:
    """Run one."""
    worker = CountingWorker(seconds)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.worker = worker
        worker.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield worker
        finally:
            server.shutdown()
            thread.join()


def ask(port: int) -> int:
    """Send one request over a connection of its own; return its status, 0 when there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/v1/completions", b'{"model":"sim-model","prompt":"x","max_tokens":1}')
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
