"""What `routerctl status` shows of a router, and how people read it: one line a process or worker.

The names are those of `GET /status` (controlplane/status_report.py), of which this is the part that people look at
and that can also be told without a control plane.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from controlplane.cli.kubernetes_view import KubernetesView, kubernetes_text
from controlplane.cli.limits_view import AdmissionView, limit_rows, limits_left_out, waiting_text
from controlplane.cli.pairs_view import PairView, pair_lines
from controlplane.cli.policies_view import PolicyView, policy_lines
from controlplane.cli.texts import counted
from controlplane.condition import BREAKER, condition


class ProcessView(msgspec.Struct, kw_only=True):
    """The supervisor or the control plane. `age` is in seconds since its start."""

    pid: int | None = None
    state: str
    version: str | None = None
    wire: str = ""
    age: float | None = None


class TableView(msgspec.Struct, kw_only=True):
    """Which routing table is meant."""

    epoch: int
    version: int
    hash: str


class PlaneView(msgspec.Struct, kw_only=True):
    """One plane. `age` and `table_age` are in seconds, `active` counts client requests.

    `client_connections` are those that are open, of at most `client_connection_limit`. `host` is empty for planes
    beside the control plane. `waits_for` says why one that is starting takes no clients; empty for others.
    """

    id: str
    slot: int
    host: str = ""
    pid: int
    state: str
    version: str | None = None
    wire: str = ""
    age: float | None = None
    table: TableView | None = None
    table_age: float | None = None
    ready_workers: int | None = None
    active: int | None = None
    client_connections: int | None = None
    client_connection_limit: int | None = None
    has_namesake: bool = False
    waits_for: str = ""

    @property
    def place(self) -> str:
        """Return its slot, behind the name of its host when that is another one."""
        return f"{self.host}/{self.slot}" if self.host else str(self.slot)


class BreakerView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's breaker. `age` is in seconds since it left closed."""

    state: str = "closed"
    reason: str = ""
    age: float | None = None


class WorkerView(msgspec.Struct, kw_only=True):
    """One worker. `version` is its server's own; `age` is in seconds since it came into its state."""

    id: str
    url: str
    state: str
    version: str | None = None
    epoch: int = 1
    role: str = "regular"
    reason: str = ""
    age: float | None = None
    models: Sequence[str] | None = None
    drained: bool = False
    breaker: BreakerView = BreakerView()


class ConfigView(msgspec.Struct, frozen=True, kw_only=True):
    """How the configuration file on disk stands to the configuration in use, `problems` why it is not used.

    Only the control plane knows.
    """

    file: str | None = None
    state: str = "unknown"
    problems: Sequence[str] = ()


class ClientKeysView(msgspec.Struct, frozen=True, kw_only=True):
    """How the file of clients' keys on disk stands to the `keys` in use, and the `problem` of one that is refused."""

    file: str
    state: str
    keys: int
    problem: str = ""


class UplinkView(msgspec.Struct, frozen=True, kw_only=True):
    """Where the control plane of planes on another host is, and whether they hear it.

    `heard_age` is in seconds since one of them last did; None when none ever has.
    """

    address: str
    reached: bool
    heard_age: float | None = None


class RouterView(msgspec.Struct, kw_only=True):
    """The whole router. `supervisor` is None when nothing is known of one.

    There should be `data_planes` planes beside the control plane; 0: nobody knows.
    `failing` requests per second are told by cause, `traces_lost` within the last minute, `admission` has the limits
    that are set, `kubernetes` how discovery of pods goes; only the control plane knows. So it is with `client_keys`,
    null where clients need none.
    `uplink` is there on a host whose control plane is on another one.
    """

    supervisor: ProcessView | None
    control_plane: ProcessView
    planes: list[PlaneView]
    workers: list[WorkerView]
    data_planes: int = 0
    removed: Sequence[str] = ()
    config: ConfigView = ConfigView()
    client_keys: ClientKeysView | None = None
    policies: Sequence[PolicyView] = ()
    pairs: PairView | None = None
    failing: Mapping[str, float] = {}
    traces_lost: int = 0
    admission: AdmissionView = AdmissionView()
    kubernetes: KubernetesView | None = None
    uplink: UplinkView | msgspec.UnsetType = msgspec.UNSET


WIDTH = 80
"""Columns that a terminal has at least."""


def terminal_width() -> int | None:
    """Return at how many columns lines are cut: those that COLUMNS says, else the terminal's; None where there is none.

    What reads a pipe wants the whole line.
    """
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    return max(WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def as_text(report: RouterView, width: int | None = None) -> str:
    """Return the report as a table for people, each line cut at `width` columns."""
    rows = [("PROCESS", "STATE", "PID", "VERSION", "AGE", "TABLE", "ACTIVE", "CLIENTS")]
    supervisor = report.supervisor or ProcessView(state="gone")
    for name, process in (("supervisor", supervisor), ("control plane", report.control_plane)):
        pid = "-" if process.pid is None else str(process.pid)
        rows.append((name, process.state, pid, process.version or "-", duration(process.age), "", "", ""))
    for plane in report.planes:
        table = "-" if plane.table is None else f"{plane.table.version} ({duration(plane.table_age)})"
        active = "-" if plane.active is None else str(plane.active)
        head = (f"plane {plane.place}", plane.state, str(plane.pid), plane.version or "-")
        most = plane.client_connection_limit
        # How near the limit is matters; both numbers would not fit beside all else.
        clients = f"{(plane.client_connections or 0) / most:.0%}" if most else "-"
        rows.append((*head, duration(plane.age), table, active, clients))
    missing = missing_slots(report.planes, report.data_planes)
    rows += [(f"plane {slot}", "gone", *("-" * 6)) for slot in missing]
    lines = aligned(rows)
    if supervisor.state == "gone":
        command = "routerctl plane" if report.control_plane.state == "on another host" else "routerctl start"
        count = f"{report.data_planes - len(missing)} of {report.data_planes} planes; " if missing else ""
        lines.append(f"{count}nothing restarts what dies until `{command}` takes over")
    for name in sorted({plane.host for plane in report.planes if plane.has_namesake}):
        lines.append(f"two `routerctl plane` go by the name {name}; give each its own --name")
    lines += _code_lines(supervisor, report.control_plane, report.planes)
    lines.append("")
    if report.uplink is not msgspec.UNSET:
        lines += [_uplink_line(report.uplink), ""]
    if report.workers:
        lines += _worker_lines(report.workers)
    elif report.uplink is not msgspec.UNSET:
        lines.append("no workers; the control plane names them")
    else:
        lines.append("no workers; `routerctl workers add URL` adds one, --worker-urls gives some")
    if limits := limit_rows(report.admission, is_cut=width is not None):
        lines += ["", *aligned(limits), *_limits_below(report.admission)]
    more = (
        *_waiting_lines(report.planes),
        *_failing_lines(report.failing),
        *_traces_lines(report.traces_lost),
        *pair_lines(report.pairs),
        *policy_lines(report.policies),
        *_kubernetes_lines(report.kubernetes),
        *_config_lines(report.config),
        *_client_key_lines(report.client_keys),
    )
    return "\n".join([*(line[:width].rstrip() for line in lines), *more])


def _waiting_lines(planes: Sequence[PlaneView]) -> list[str]:
    lines = [f"plane {plane.place} takes no clients: {plane.waits_for}" for plane in planes if plane.waits_for]
    return ["", *lines] if lines else []


def _code_lines(supervisor: ProcessView, control_plane: ProcessView, planes: Sequence[PlaneView]) -> list[str]:
    """Return which processes are of other code than the control plane, so that the two speak otherwise."""
    wire = control_plane.wire
    if not wire:
        return []
    runs = "other code than the control plane's runs in"
    others = [plane for plane in planes if plane.wire not in ("", wire)]
    lines = []
    if here := ", ".join(plane.place for plane in others if not plane.host):
        lines.append(f"{runs} planes {here}; they are about to be replaced, or the log says why not")
    if elsewhere := ", ".join(plane.place for plane in others if plane.host):
        lines.append(f"{runs} planes {elsewhere}; start `routerctl plane` there again from the same code")
    if supervisor.wire not in ("", wire):
        lines.append(
            f"{runs} the supervisor; kill -9 {supervisor.pid} and `routerctl start` with the same flags replace it"
        )
    return lines


def _uplink_line(uplink: UplinkView) -> str:
    at = f"control plane at {uplink.address}"
    if uplink.reached:
        return f"{at}: reached"
    since = "never reached" if uplink.heard_age is None else f"not reached for {duration(uplink.heard_age)}"
    return f"{at}: {since}; the log here says why"


def failing_text(failing: Mapping[str, float]) -> str:
    """Return what goes wrong now, by cause; empty where nothing does."""
    causes = ", ".join(f"{cause} {_rate(rate)}/s" for cause, rate in failing.items())
    return f"requests fail: {causes}" if causes else ""


def _rate(rate: float) -> str:
    """Return as many digits as the sum has that stands beside it, but never 0."""
    if rate < 0.1:
        return f"{rate:.1g}"
    return f"{rate:.1f}" if rate < 99.95 else f"{rate:.0f}"


def _limits_below(admission: AdmissionView) -> list[str]:
    left = limits_left_out(admission)
    told = [f"and {left} more; --json has the fullest 50"] if left else []
    return [*told, waiting_text(admission) or "nobody waits"]


def _failing_lines(failing: Mapping[str, float]) -> list[str]:
    text = failing_text(failing)
    return ["", f"{text} (last 10 s; `routerctl report` tells more)"] if text else []


def traces_text(lost: int) -> str:
    """Return what is said of traces that no collector took; empty where there are none."""
    return f"traces: {counted(lost, 'was', 'were')} lost in the last minute; the log says why" if lost else ""


def _traces_lines(lost: int) -> list[str]:
    text = traces_text(lost)
    return ["", text] if text else []


def _kubernetes_lines(view: KubernetesView | None) -> list[str]:
    text = kubernetes_text(view, duration(view.age if view is not None else None))
    return ["", text] if text else []


def _config_lines(config: ConfigView) -> list[str]:
    """Say what is wrong with the file on disk; nothing when it is in use."""
    back = "`routerctl config rollback` puts that back"
    said = {
        "changed": ["it was changed and is not in use yet; `routerctl reload` takes it up"],
        "refused": ["it was changed and is refused; what it held before is in use:", *config.problems, back],
        "unreadable": ["it can not be read; what it held before is in use:", *config.problems, back],
    }
    lines = said.get(config.state, [])
    return ["", f"{config.file}:", *(f"  {line}" for line in lines)] if lines else []


def _client_key_lines(keys: ClientKeysView | None) -> list[str]:
    """Say what is wrong with the file of clients' keys; nothing when it is in use."""
    if keys is None or not keys.problem:
        return []
    return ["", f"{keys.file} (--client-keys-file):", f"  {in_use_instead(keys)}:", f"  {keys.problem}"]


def in_use_instead(keys: ClientKeysView) -> str:
    """Return what is in use in place of a refused file of clients' keys."""
    if not keys.keys:
        return "it is refused, and no keys are in use: every client is refused"
    count = counted(keys.keys, "key that it held before is", "keys that it held before are")
    return f"it is refused; the {count} in use"


def _worker_lines(workers: Sequence[WorkerView]) -> list[str]:
    has_roles = any(worker.role != "regular" for worker in workers)
    rows = [("WORKER", "STATE", "AGE", *(("ROLE",) if has_roles else ()), "MODELS")]
    for worker in workers:
        # Why a worker gets no requests matters more than what it would serve.
        last = worker.reason or ("-" if worker.models is None else ", ".join(worker.models))
        state, age, reason = worker_state(worker.state, worker.age, worker.breaker, is_drained=worker.drained)
        rows.append((worker.id, state, duration(age), *((worker.role,) if has_roles else ()), reason or last))
    return aligned(rows)


def worker_state(
    state: str, age: float | None, breaker: BreakerView, *, is_drained: bool
) -> tuple[str, float | None, str]:
    """Return what people are shown as a worker's state, for how many seconds it is in it, and a breaker's reason."""
    word = condition(state, breaker.state, is_drained=is_drained)
    return (word, breaker.age, breaker.reason) if word.startswith(BREAKER) else (word, age, "")


def missing_slots(planes: Iterable[PlaneView], wanted: int) -> list[int]:
    """Return the numbers of the planes that should be beside the control plane and are not."""
    present = {plane.slot for plane in planes if not plane.host}
    return [slot for slot in range(wanted) if slot not in present]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def duration(seconds: float | None) -> str:
    """Return a time in two units at most, such as `3m12s`."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s"
    whole = int(seconds)
    for name, size, smaller, smaller_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{name}{whole % size // smaller_size}{smaller}"
    return f"{whole}s"
