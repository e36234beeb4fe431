"""What reloads cost requests: rounds with as many reloads as it takes, and rounds without, in turn."""

import threading
import time
from pathlib import Path

from benchlib import targets
from benchlib.admin import Admin
from benchlib.load import Upstream, run_load
from benchlib.processes import Processes
from benchlib.stats import median
from benchlib.wire import LoadResult, LoadSpec

_SECONDS = 5.0
_RATE = 300.0


def measure(processes: Processes, upstream: Upstream, count: int, directory: Path) -> dict[str, float]:
    """Make at least `count` reloads, each of which changes something; return what became of requests meanwhile."""
    directory.mkdir(parents=True)
    settings = directory / "router.toml"
    settings.write_text("")
    router = targets.start(
        processes, "routerctl", upstream.addresses(4), 2, directory / "router", ("--config", str(settings))
    )
    quiet: list[LoadResult] = []
    busy: list[LoadResult] = []
    outcomes: list[str] = []
    try:
        router.wait_ready()
        spec = LoadSpec(mode="open", connections=32, seconds=_SECONDS, rate=_RATE, port=router.port)
        with Admin(router.launch.admin_port, directory / "router" / "run") as admin:
            while len(outcomes) < count:
                quiet.append(run_load(processes, spec, time.monotonic)[0])
                ended = threading.Event()
                reloading = threading.Thread(target=_reload, args=(admin, settings, outcomes, ended))
                reloading.start()
                busy.append(run_load(processes, spec, time.monotonic)[0])
                ended.set()
                reloading.join()
    finally:
        router.stop()
    return {
        "reloads": float(len(outcomes)),
        "failed_reloads": float(sum(outcome != "applied" for outcome in outcomes)),
        "failed_requests": float(sum(sum(result.errors.values()) for result in (*quiet, *busy))),
        "requests": float(sum(result.requests for result in busy)),
        "p99_quiet_ms": median([result.p99_ms for result in quiet]),
        "p99_reloading_ms": median([result.p99_ms for result in busy]),
        "p99_moved_ms": median([b.p99_ms - q.p99_ms for q, b in zip(quiet, busy, strict=True)]),
    }


def _reload(admin: Admin, settings: Path, outcomes: list[str], ended: threading.Event) -> None:
    while not ended.is_set():
        policy = ("round_robin", "power_of_two")[len(outcomes) % 2]
        settings.write_text(f'policy = "{policy}"\nrequest_timeout_secs = {100 + len(outcomes)}\n')
        outcomes.append(str(admin.ask("POST", "/reload")[1]["outcome"]))
