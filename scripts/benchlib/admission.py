"""`scripts/bench admission`: whether limits hold, what overload does, what a tenant that floods does, what it costs.

A router of 1, 2 and 4 planes stands before a worker that counts what comes to it. Worker and clients are processes of
their own; each figure comes with what each process used of a core, so that one sees who had too little of it. Clients
keep their connections, as OpenAI's do.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchlib import admission_cost, admission_granted, admission_overload, admission_tenants, admission_workers
from benchlib.admission_plot import plot
from benchlib.admission_rig import Rig
from benchlib.processes import BenchError, Processes

PARTS = ("cost", "granted", "killed-plane", "overload", "retry-after", "tenants", "workers")


@contextmanager
def _rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Processes() as processes:
        yield Rig(processes, Path(folder))


def _measure(options: argparse.Namespace) -> None:
    seconds: float = options.seconds

    def tenants(rig: Rig, planes: int) -> None:
        bars = admission_tenants.tenants(rig, planes, seconds)
        if options.plot:
            options.plot.write_text(plot(bars))

    parts: dict[str, Callable[[Rig, int], None]] = {
        "granted": lambda rig, planes: admission_granted.granted(rig, planes, seconds),
        "killed-plane": lambda rig, planes: admission_granted.killed_plane(rig, planes, seconds),
        "overload": lambda rig, planes: admission_overload.overload(rig, planes, seconds),
        "retry-after": lambda rig, planes: admission_overload.retry_after(rig, planes, seconds),
        "tenants": tenants,
        "workers": lambda rig, planes: admission_workers.workers(rig, planes, seconds),
    }
    if "cost" in options.only:
        admission_cost.cost()
    for name, part in parts.items():
        if name in options.only:
            for planes in options.planes:
                with _rig() as rig:
                    part(rig, planes)


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench admission", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each measurement (default 60)")
    parser.add_argument("--planes", type=int, nargs="+", default=[1, 2, 4], help="planes (default 1 2 4)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default all)")
    parser.add_argument("--plot", type=Path, help="write the picture of the two tenants there (SVG)")
    try:
        _measure(parser.parse_args(arguments))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return 0
