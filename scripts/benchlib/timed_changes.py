"""Changes of the members that are timed while a router serves."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from benchlib.load import run_load
from benchlib.processes import BenchError, Processes
from benchlib.stats import quantile
from benchlib.targets import Running
from benchlib.wire import LoadSpec

_RATE = 100.0


def under_light_load(
    processes: Processes, router: Running, change: Callable[[], None], taken: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, float]]:
    """Let `change` fill `taken` (seconds, by kind) in a thread; return p50, p99, most and number of each kind.

    Every kind has the number of all requests that failed meanwhile. Raises BenchError when a change could not be made.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            change()
        except Exception as error:
            # Told by the thread that waits for this one.
            failures.append(error)

    changing = threading.Thread(target=run)
    changing.start()
    errors = 0
    while changing.is_alive():
        spec = LoadSpec(mode="open", connections=16, seconds=5.0, rate=_RATE, port=router.port)
        result, _, _ = run_load(processes, spec, time.monotonic)
        errors += sum(result.errors.values())
    changing.join()
    if failures:
        raise BenchError(f"changes could not be made: {failures[0]}")
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
