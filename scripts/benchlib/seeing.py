"""Scenario `seeing`: what it costs to see what the router does.

Metrics and the counts behind them can not be turned off, so they are in all variants. What can be is off in the first
one: the access log, receipts, traces, and whoever asks for metrics or for the monitor.
"""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchlib.admin import Admin
from benchlib.processes import BenchError
from benchlib.targets import Running

_SCRAPE_EVERY = 2.0
"""Seconds. Prometheus' own default is 60; every round is to have one at least."""
_LOOK_EVERY = 1.0
"""Seconds: as often as `routerctl top` looks."""
_OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


@dataclass(frozen=True)
class Sight:
    """What is on. `traces` is the share of requests that begin a trace, None for no traces."""

    access_log: bool = False
    receipts: bool = False
    traces: float | None = None
    is_watched: bool = False

    def settings(self, collector: int) -> str:
        """Return the content of a configuration file; traces go to the port `collector`."""
        found = [f'access_log = "{"all" if self.access_log else "off"}"']
        if not self.receipts:
            found.append("receipts = 0")
        if self.traces is not None:
            found.append(f'otlp_traces_endpoint = "http://127.0.0.1:{collector}"')
            found.append(f"otel_sampling_ratio = {self.traces}")
        return "\n".join([*found, ""])


NOTHING = Sight()
SIGHTS = {
    "all off": NOTHING,
    "all on": Sight(access_log=True, receipts=True, traces=1.0, is_watched=True),
    "access log": Sight(access_log=True),
    "receipts": Sight(receipts=True),
    "traces 1.0": Sight(traces=1.0),
    "traces 0.01": Sight(traces=0.01),
    "watched": Sight(is_watched=True),
}
"""All of it, then each by itself; all are held against the first one.

A plane begins a bounded number of traces a second, so the ratio of traces counts below that.
"""


def flags(folder: Path, *, log_files: bool) -> tuple[str, ...]:
    """Return routerctl's arguments for a router that runs in `folder`, and shows nothing yet.

    Its lines are JSON on stderr; with `log_files` all of them are also written to files, as text and as JSON.
    """
    settings = _settings_file(folder)
    settings.write_text(NOTHING.settings(0))
    files = (f"--log-dir={folder / 'logs'}",) if log_files else ()
    # A line of a request has level info.
    return (f"--config={settings}", "--log-level=info", "--log-format=json", *files)


@contextmanager
def seen(router: Running, sight: Sight, collector: int) -> Iterator[None]:
    """Have a router show just this for as long as the context lasts."""
    _settings_file(router.launch.directory).write_text(sight.settings(collector))
    with Admin(router.launch.admin_port, router.launch.directory / "run") as admin:
        status, answer = admin.ask("POST", "/reload")
    if status >= 300:
        raise BenchError(f"reload: {status} {answer}")
    if not sight.is_watched:
        yield
        return
    with _watching(router):
        yield


def _settings_file(folder: Path) -> Path:
    return folder.with_suffix(".toml")


@contextmanager
def _watching(router: Running) -> Iterator[None]:
    """Scrape the router's metrics, and look at it as `routerctl top` does, for as long as the context lasts."""
    is_over = threading.Event()
    with scraper(router) as scrape, _asking(router.launch.admin_port, "/monitor?events=50") as look:
        threads = [
            threading.Thread(target=_repeat, args=(scrape, _SCRAPE_EVERY, is_over)),
            threading.Thread(target=_repeat, args=(look, _LOOK_EVERY, is_over)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            is_over.set()
            for thread in threads:
                thread.join()


def _repeat(ask: Callable[[], bytes], every: float, is_over: threading.Event) -> None:
    # Half a period later than the round begins, which is seldom longer than one.
    while not is_over.wait(every / 2):
        ask()
        is_over.wait(every / 2)


@contextmanager
def scraper(router: Running) -> Iterator[Callable[[], bytes]]:
    """Give what gets the router's metrics in OpenMetrics."""
    with _asking(router.launch.metrics_port, "/metrics") as scrape:
        yield scrape


@contextmanager
def _asking(port: int, path: str) -> Iterator[Callable[[], bytes]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask() -> bytes:
        connection.request("GET", path, headers=_OPENMETRICS)
        return connection.getresponse().read()

    try:
        yield ask
    finally:
        connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def collector() -> Iterator[int]:
    """Take traces, and throw them away; gives the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
