"""Scenario `startup`: from launching the command to the first answered request, in turn."""

from pathlib import Path

from benchlib import targets
from benchlib.load import Upstream
from benchlib.processes import Processes


def measure(
    processes: Processes, upstream: Upstream, names: tuple[str, ...], workers: int, repeats: int, directory: Path
) -> dict[str, list[float]]:
    """Return seconds per start, for each target."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats):
        for name in names:
            folder = directory / f"startup-{name}-{repeat}"
            running, taken = targets.start_and_time(processes, name, upstream.addresses(workers), folder)
            running.stop()
            seconds[name].append(taken)
    return seconds
