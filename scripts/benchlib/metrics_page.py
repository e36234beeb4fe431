"""How long `/metrics` of a large fleet takes, and whether it delays changes of the table.

Every worker has had requests of every plane, and requests are traced, so that the page has all series and exemplars.
"""

import threading
import time
from contextlib import ExitStack
from pathlib import Path

from benchlib import seeing, targets
from benchlib.admin import Admin, worker_path
from benchlib.load import Upstream, run_load
from benchlib.processes import BenchError, Processes
from benchlib.stats import quantile
from benchlib.targets import Running
from benchlib.wire import LoadSpec

_PLANES = 4
_SETTLE = 5.0
"""Seconds: the first looks at all workers are over, and the planes have told what they did."""
_PAUSE = 0.05
"""Seconds between two pages: some come within each change."""


def measure(
    processes: Processes, upstream: Upstream, workers: int, count: int, directory: Path
) -> dict[str, dict[str, float]]:
    """Return the figures of `count` pages in OpenMetrics, and of as many changes without pages and with them."""
    with ExitStack() as stack:
        collector = stack.enter_context(seeing.collector())
        addresses = upstream.addresses(workers)
        flags = seeing.flags(directory, log_files=False)
        router = targets.start(processes, "routerctl", addresses, _PLANES, directory, flags)
        stack.callback(router.stop)
        router.wait_ready()
        stack.enter_context(seeing.seen(router, seeing.Sight(receipts=True, traces=1.0), collector))
        run_load(processes, LoadSpec(seconds=3.0, port=router.port), time.monotonic)
        run_load(processes, LoadSpec(seconds=1.0, requests=64, chunks=20, port=router.port), time.monotonic)
        time.sleep(_SETTLE)
        admin = stack.enter_context(Admin(router.launch.admin_port, directory / "run"))
        found = {"page": _pages(router, count)}
        member = f"http://{addresses[-1]}"
        found["change, no page"] = _times(_changes(admin, member, count))
        is_over = threading.Event()
        reading = threading.Thread(target=_read_on, args=(router, is_over))
        reading.start()
        try:
            found["change, pages meanwhile"] = _times(_changes(admin, member, count))
        finally:
            is_over.set()
            reading.join()
    return found


def _pages(router: Running, count: int) -> dict[str, float]:
    taken, body = [], b""
    with seeing.scraper(router) as scrape:
        for _ in range(count):
            began = time.monotonic()
            body = scrape()
            taken.append(time.monotonic() - began)
            time.sleep(_PAUSE)
    if b"trace_id" not in body:
        raise BenchError("the page has no exemplars")
    return _times(taken) | {"lines": float(body.count(b"\n"))}


def _read_on(router: Running, is_over: threading.Event) -> None:
    with seeing.scraper(router) as scrape:
        while not is_over.wait(_PAUSE):
            scrape()


def _changes(admin: Admin, member: str, count: int) -> list[float]:
    """Drain a worker and take it back, by turns; return how long it took until every plane honoured it."""
    taken = []
    for number in range(count):
        began = time.monotonic()
        if not admin.change("POST", worker_path(member, "/undrain" if number % 2 else "/drain")):
            raise BenchError("a change was not on every plane within a second")
        taken.append(time.monotonic() - began)
        time.sleep(_PAUSE)
    return taken


def _times(seconds: list[float]) -> dict[str, float]:
    return {"p50_ms": quantile(seconds, 0.5) * 1e3, "p99_ms": quantile(seconds, 0.99) * 1e3}
