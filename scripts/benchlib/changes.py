"""How long it takes until every plane honours a change of the members, under light load.

A drain, undrain or removal is honoured when the admin API's answer comes: it waits for every plane's word that it
serves from the table with the change. An added worker is looked at first; it counts from the request until every
plane has it as ready.
"""

import random
import threading
import time
from pathlib import Path

from benchlib import targets
from benchlib.admin import Admin, worker_path
from benchlib.load import Upstream, run_load
from benchlib.processes import BenchError, Processes
from benchlib.stats import quantile
from benchlib.wire import LoadSpec

_WORKERS = 4
_RATE = 100.0
_PAUSE = 0.03
"""Seconds between changes at most: they come at any moment of the planes' and the control plane's periods."""


def measure(
    processes: Processes, upstream: Upstream, planes: int, count: int, directory: Path
) -> dict[str, dict[str, float]]:
    """Make at least `count` changes of each kind; return p50, p99, most and number of each kind."""
    *addresses, stranger = upstream.addresses(_WORKERS + 1)
    router = targets.start(processes, "routerctl", addresses, planes, directory)
    try:
        router.wait_ready()
        taken: dict[str, list[float]] = {"drain": [], "undrain": [], "remove": [], "add": []}
        failures: list[BaseException] = []

        def change() -> None:
            try:
                with Admin(router.launch.admin_port, directory / "run") as admin:
                    while len(taken["add"]) < count:
                        _round(admin, f"http://{addresses[-1]}", f"http://{stranger}", taken)
            except Exception as error:
                # Told by the thread that waits for this one.
                failures.append(error)

        changing = threading.Thread(target=change)
        changing.start()
        errors = 0
        while changing.is_alive():
            spec = LoadSpec(mode="open", connections=16, seconds=5.0, rate=_RATE, port=router.port)
            result, _, _ = run_load(processes, spec, time.monotonic)
            errors += sum(result.errors.values())
        changing.join()
        if failures:
            raise BenchError(f"changes could not be made: {failures[0]}")
    finally:
        router.stop()
    return {
        kind: {
            "p50_ms": quantile(times, 0.5) * 1e3,
            "p99_ms": quantile(times, 0.99) * 1e3,
            "most_ms": max(times) * 1e3,
            "changes": float(len(times)),
            "failed_requests": float(errors),
        }
        for kind, times in taken.items()
    }


def _round(admin: Admin, member: str, stranger: str, taken: dict[str, list[float]]) -> None:
    taken["drain"].append(_timed(admin, "POST", worker_path(member, "/drain")))
    taken["undrain"].append(_timed(admin, "POST", worker_path(member, "/undrain")))
    time.sleep(random.uniform(0, _PAUSE))
    began = time.monotonic()
    admin.change("POST", "/workers", {"url": stranger})
    while any(status.ready_workers <= _WORKERS for status in admin.statuses()):
        if time.monotonic() > began + 30:
            raise BenchError(f"worker {stranger} is not ready on every plane after 30 s")
        time.sleep(0.001)
    taken["add"].append(time.monotonic() - began)
    taken["remove"].append(_timed(admin, "DELETE", worker_path(stranger)))
    # It would leave by itself within a second, once every plane has told that nothing is open there.
    admin.change("DELETE", worker_path(stranger, "?force"))


def _timed(admin: Admin, method: str, path: str) -> float:
    time.sleep(random.uniform(0, _PAUSE))
    began = time.monotonic()
    if not admin.change(method, path):
        raise BenchError(f"{method} {path}: not on every plane within a second")
    return time.monotonic() - began
