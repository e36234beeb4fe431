"""Scenario `memory`: what each process of a router holds, idle and after some load."""

import time
from pathlib import Path

import msgspec

from benchlib import procfs, scenarios, targets
from benchlib.load import Upstream, run_load
from benchlib.processes import Processes
from benchlib.scenarios import Settings
from benchlib.targets import Running

#: Seconds after readiness at which a router counts as idle: past its first health checks.
_SETTLE_SECONDS = 2.0
_MIB = 1 << 20


class MemoryRow(msgspec.Struct, frozen=True):
    """One process, or the sum of a router's; MiB. PSS is None where the kernel does not tell it."""

    variant: str
    state: str
    role: str
    rss: float
    pss: float | None


def measure(processes: Processes, upstream: Upstream, settings: Settings, directory: Path) -> list[MemoryRow]:
    """Return the rows of all targets; routerctl with one and with two planes."""
    variants = [(name, name, 1) for name in settings.targets]
    if "routerctl" in settings.targets:
        variants.insert(1, ("routerctl, 2 planes", "routerctl", 2))
    rows = []
    for number, (label, name, planes) in enumerate(variants):
        addresses = upstream.addresses(settings.workers)
        router = targets.start(processes, name, addresses, planes, directory / f"memory-{number}")
        try:
            router.wait_ready()
            time.sleep(_SETTLE_SECONDS)
            rows += _rows(router, label, "idle")
            run_load(processes, msgspec.structs.replace(scenarios.small(settings), port=router.port), time.time)
            rows += _rows(router, label, "after load")
        finally:
            router.stop()
    return rows


def _rows(router: Running, label: str, state: str) -> list[MemoryRow]:
    rows = []
    for pid in sorted(router.pids()):
        held = procfs.memory(pid)
        if held is not None:
            pss = None if held.pss is None else held.pss / _MIB
            rows.append(MemoryRow(label, state, router.role(pid), held.rss / _MIB, pss))
    shares = [row.pss for row in rows if row.pss is not None]
    whole = sum(shares) if len(shares) == len(rows) else None
    return [*rows, MemoryRow(label, state, "all", sum(row.rss for row in rows), whole)]
