"""What `routerctl planes` shows, for people."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from controlplane.cli.status_view import PlaneView, aligned, duration, missing_slots


class Planes(msgspec.Struct, kw_only=True):
    """The answer of `GET /planes`."""

    planes: list[PlaneView]
    data_planes: int = 0


class PlaneRestart(msgspec.Struct, kw_only=True):
    """What became of one plane."""

    slot: int
    outcome: str
    old_pid: int | None
    new_pid: int | None
    seconds: float
    reason: str


class Restarted(msgspec.Struct, kw_only=True):
    """The answer of `POST /planes/restart`."""

    outcome: str
    reason: str
    planes: tuple[PlaneRestart, ...]


def list_text(planes: Sequence[PlaneView], wanted: int = 0) -> str:
    """Return a line per plane, also for those of the `wanted` that are not there."""
    missing = missing_slots(planes, wanted)
    if not planes and not missing:
        return "no planes"
    rows = [("PLANE", "STATE", "PID", "VERSION", "AGE", "TABLE", "OPEN", "CONNECTIONS")]
    for plane in planes:
        table = "-" if plane.table is None else f"{plane.table.version} ({duration(plane.table_age)})"
        most = plane.client_connection_limit
        connections = f"{plane.client_connections or 0} of {most}" if most else "-"
        rows.append(
            (
                plane.place,
                plane.state,
                str(plane.pid),
                plane.version or "-",
                duration(plane.age),
                table,
                "-" if plane.active is None else str(plane.active),
                connections,
            )
        )
    rows += [(str(slot), "gone", *("-" * 6)) for slot in missing]
    lines = [line.rstrip() for line in aligned(rows)]
    if missing:
        lines.append(f"{wanted - len(missing)} of {wanted} planes; `routerctl status` shows whether a supervisor runs")
    return "\n".join(lines)


def restarted_text(told: Restarted) -> str:
    """Return a line per plane, and why a roll stopped."""
    lines = []
    for plane in told.planes:
        if plane.outcome == "restarted":
            rest = f"pid {plane.new_pid} serves after {duration(plane.seconds)}; pid {plane.old_pid} drains"
        elif plane.outcome == "failed":
            rest = f"pid {plane.old_pid} goes on: {plane.reason}"
        else:
            rest = f"pid {plane.old_pid} was not touched"
        lines.append(f"plane {plane.slot}: {rest}")
    if told.reason:
        lines.append(f"{told.outcome}: {told.reason}")
    return "\n".join(lines)
