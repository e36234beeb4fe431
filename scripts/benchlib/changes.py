"""How long it takes until every plane honours a change of the members, under light load.

A drain, undrain or removal is honoured when the admin API's answer comes: it waits for every plane's word that it
serves from the table with the change. An added worker is looked at first; it counts from the request until every
plane has it as ready.
"""

import random
import time
from pathlib import Path

from benchlib import targets
from benchlib.admin import Admin, worker_path
from benchlib.load import Upstream
from benchlib.processes import BenchError, Processes
from benchlib.timed_changes import under_light_load

_WORKERS = 4
_PAUSE = 0.03
"""Seconds between changes at most: they come at any moment of the planes' and the control plane's periods."""


def measure(
    processes: Processes, upstream: Upstream, planes: int, count: int, directory: Path
) -> dict[str, dict[str, float]]:
    """Make at least `count` changes of each kind; return p50, p99, most and number of each kind."""
    *addresses, stranger = upstream.addresses(_WORKERS + 1)
    router = targets.start(processes, "routerctl", addresses, planes, directory)
    taken: dict[str, list[float]] = {"drain": [], "undrain": [], "remove": [], "add": []}

    def change() -> None:
        with Admin(router.launch.admin_port, directory / "run") as admin:
            while len(taken["add"]) < count:
                _round(admin, f"http://{addresses[-1]}", f"http://{stranger}", taken)

    try:
        router.wait_ready()
        return under_light_load(processes, router, change, taken)
    finally:
        router.stop()


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
