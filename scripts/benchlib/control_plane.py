"""Scenario `control-plane`: how soon changes are honoured, what large fleets cost, what reloads cost requests."""

from pathlib import Path

import msgspec

from benchlib import adopting, changes, large_fleet, metrics_page, registrations, reloads
from benchlib.load import Upstream
from benchlib.processes import Processes
from benchlib.scenarios import Settings


class ControlRow(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of the control plane; its unit is in `metric`. `wanted` is what it should be, empty if nothing."""

    part: str
    variant: str
    metric: str
    value: float
    wanted: str = ""


def measure(processes: Processes, upstream: Upstream, settings: Settings, directory: Path) -> list[ControlRow]:
    """Return all figures."""
    rows = []
    for planes in (2, 4):
        found = changes.measure(processes, upstream, planes, settings.changes, directory / f"changes-{planes}")
        for kind, figures in found.items():
            for metric, value in figures.items():
                wanted = "<= 100" if metric == "p99_ms" and kind != "add" else ""
                rows.append(_row("change to honoured", f"{planes} planes, {kind}", metric, value, wanted))
    found = registrations.measure(processes, upstream, 4, settings.changes, directory / "registrations")
    for kind, figures in found.items():
        for metric, value in figures.items():
            wanted = ("<= 1000" if kind == "hello" else "<= 100") if metric == "p99_ms" else ""
            rows.append(_row("registration to honoured", f"4 planes, {kind}", metric, value, wanted))
    for workers, models in ((settings.many_workers, 1), (settings.many_workers, 20)):
        for metric, value in adopting.measure(workers, models).items():
            wanted = "<= 2" if metric == "p50_ms" else ""
            variant = f"{workers} workers, {models} model{'s'[: models - 1]}"
            rows.append(_row("change in a plane's loop", variant, metric, value, wanted))
    for budget in (100, 20):
        folder = directory / f"large-{budget}"
        found_large = large_fleet.measure(processes, upstream, settings.many_workers, budget, settings.seconds, folder)
        limits = {"cpu_percent": f"<= {min(90, budget)}", "rss_mb": "<= 250"}
        for metric, value in found_large.items():
            variant = f"{settings.many_workers} workers, budget {budget} %"
            rows.append(_row("large fleet", variant, metric, value, limits.get(metric, "")))
    many = min(500, settings.many_workers)
    for kind, figures in metrics_page.measure(processes, upstream, many, settings.changes, directory / "page").items():
        for metric, value in figures.items():
            wanted = {"page p50_ms": "<= 50", "change, pages meanwhile p99_ms": "<= 100"}.get(f"{kind} {metric}", "")
            rows.append(_row("metrics page", f"{many} workers, 4 planes, {kind}", metric, value, wanted))
    for metric, value in reloads.measure(processes, upstream, settings.reloads, directory / "reloads").items():
        wanted = {"p99_moved_ms": "<= 5", "failed_requests": "0", "failed_reloads": "0"}.get(metric, "")
        rows.append(_row("reloads under load", "2 planes", metric, value, wanted))
    return rows


def _row(part: str, variant: str, metric: str, value: float, wanted: str) -> ControlRow:
    return ControlRow(part=part, variant=variant, metric=metric, value=round(value, 3), wanted=wanted)
