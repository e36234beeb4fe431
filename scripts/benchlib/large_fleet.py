"""What the control plane uses for a large fleet: each worker's metrics page every second, its health every 10 s."""

import time
from pathlib import Path

from benchlib import procfs, targets
from benchlib.load import Upstream
from benchlib.processes import BenchError, Processes

_SETTLE = 10.0
"""Seconds after readiness: the first looks at all workers are over, and the pace has been found."""
_MEASURED = 10.0
"""Times the length of a round: health checks come every 10 s."""
_SAID = "reading every worker's load"


def measure(
    processes: Processes, upstream: Upstream, workers: int, budget: int, seconds: float, directory: Path
) -> dict[str, float]:
    """Return CPU in percent of a core, RSS in MB, and 1 if the log says that workers are read less often."""
    wanted = ("--load-interval-ms=1000", "--health-check-interval-secs=10", f"--load-cpu-percent={budget}")
    router = targets.start(processes, "routerctl", upstream.addresses(workers), 1, directory, wanted)
    try:
        router.wait_ready()
        pids = [pid for pid in router.pids() if router.role(pid) == "control plane"]
        if len(pids) != 1:
            raise BenchError("the control plane's process is not known")
        time.sleep(_SETTLE)
        before, began = procfs.cpu_seconds(pids[0]), time.monotonic()
        time.sleep(_MEASURED * seconds)
        after, taken = procfs.cpu_seconds(pids[0]), time.monotonic() - began
        held = procfs.memory(pids[0])
        if before is None or after is None or held is None:
            raise BenchError("the control plane ended")
        said = _SAID in (directory / "output.log").read_text()
    finally:
        router.stop()
    return {"cpu_percent": 100 * (after - before) / taken, "rss_mb": held.rss / 1e6, "says_so": float(said)}
