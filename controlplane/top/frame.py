"""A frame: lines of text for a screen of some size, out of what was seen and what its user chose. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.text import Text

from controlplane.cli.limits_view import FULL, AdmissionView, limit_text
from controlplane.cli.status_view import duration, worker_state
from controlplane.cli.texts import counted
from controlplane.condition import BREAKER, READY
from controlplane.top.columns import NAME_LEAST, Row, fitting, heading, line, short_name
from controlplane.top.notes import notes
from controlplane.top.snapshot import Event, Plane, Seen, Snapshot, Status, Summary, Traffic, Worker
from controlplane.top.texts import amount, clean, fitted, short_time, with_short_names
from controlplane.top.turns import KEYS
from controlplane.top.view import View, busyness, place_of, shown, state_of

_STATES = {"ready": "", "draining": "yellow", "drained": "yellow", "starting": "yellow", "brk half": "yellow"}
_LEGEND = (
    "LOAD is full at a worker's capacity, else at what the busiest of its role",
    "has. RUN, WAIT, KV: what its engine says. OPEN: what this router has there.",
    "REQ/S, FAIL/S: of the last 10 s. FIRST, P95: half and 95 % of the times from",
    "sending to the first byte, in the last 60 s. In the head, ttft and e2e are",
    "p50/p95 of whole requests, with their time in the queue and all attempts.",
    "brk open: its breaker leaves it out; brk half: one request tries it.",
    "Planes: the version of their table, how old it is, requests per second.",
)
_LEVELS = {"warning": "yellow", "error": "red"}


class Screen(NamedTuple):
    """How many columns and lines there are, whether letters beyond ASCII can be shown, and whether there are keys."""

    width: int
    height: int
    is_ascii: bool = False
    has_keys: bool = True


def frame(seen: Seen, view: View, screen: Screen) -> list[Text]:
    """Return the lines of a whole screen, none longer than it is wide."""
    lines = _lines(seen, view, screen)
    shown_lines = [*lines[: screen.height - 1], _footer(seen, view, screen.width)] if screen.height > 1 else lines[:1]
    return [_cut(one, screen.width) for one in shown_lines]


def _cut(line: Text, width: int) -> Text:
    """Return the line, none longer than `width`; one that is cut shows it."""
    if line.cell_len > width:
        line.truncate(max(0, width - 1))
        line.append("~" if width else "")
    line.no_wrap = True
    return line


def _lines(seen: Seen, view: View, screen: Screen) -> list[Text]:
    if view.mode == "help":
        return _padded(_help(screen), screen.height - 1)
    head = _head(seen, screen)
    if seen.snapshot is None:
        return _padded(head, screen.height - 1)
    snapshot = seen.snapshot
    room = screen.height - 1 - len(head)
    planes = _planes(snapshot.status, screen.width, most=max(1, room // 8)) if room >= 10 else []
    told = _notes(snapshot.status, most=room // 5) if room >= 10 else []
    detail = [_detail(snapshot, view, screen.width)] if room >= 8 and screen.has_keys else []
    room -= len(planes) + len(told) + len(detail)
    table = _workers(snapshot, view, screen)
    # What the table does not need is the events'.
    most = max(room // 4, room - len(table.lines) - 2)
    events = _events(snapshot.events, most, screen.width) if room >= 10 else []
    table_lines = _padded(table.seen(room - len(events)), room - len(events))
    return [*head, *planes, *told, *table_lines, *detail, *events]


def _padded(lines: list[Text], count: int) -> list[Text]:
    return [*lines[:count], *(Text() for _ in range(count - len(lines)))]


# --- the head ----------------------------------------------------------------------------------------------------


def _head(seen: Seen, screen: Screen) -> list[Text]:
    first = Text("routerctl top", "bold").append(f"  {clean(seen.where)}", "not bold")
    if seen.snapshot is not None:
        control = seen.snapshot.status.control_plane
        whole = seen.snapshot.status.supervisor
        # Without a supervisor nobody knows for how long there has been a router.
        age = whole.age if whole is not None else control.age
        told = f"  up {duration(age)}  table {control.table.version}  {_clock(seen.snapshot.time)}"
        first.append(told, "not bold")
    lines = [first]
    if seen.problem:
        lines.append(Text(_problem(seen), "bold red"))
    if seen.snapshot is not None:
        most = screen.height // 5 if screen.height >= 10 else 0 if seen.problem else 1
        lines += _glance(seen.snapshot, screen.width, most)
    return lines


def _problem(seen: Seen) -> str:
    since = f"figures are {duration(seen.age)} old" if seen.snapshot is not None else "nothing is known yet"
    # Where it is stands in the line above.
    why = seen.problem.removeprefix(f"{seen.where}: ").replace(f" at {seen.where}", "")
    why = f"it {why.removeprefix(seen.where).lstrip()}" if why.startswith(f"{seen.where} ") else why
    return f"NOT REACHED, {since}: {clean(why)}; trying again"


def _glance(snapshot: Snapshot, width: int, most: int) -> list[Text]:
    summary = snapshot.summary
    fleet, traffic = _flowed(_fleet_parts(summary), width), _flowed(_traffic_parts(summary.traffic), width)
    # Where there is no room for all, the first line of each matters most.
    fleet = fleet[: max(1, most - len(traffic))]
    limits = _flowed(_limit_parts(snapshot.status.admission), width)[:1]
    return [*fleet, *traffic, *limits][:most]


def _limit_parts(admission: AdmissionView) -> list[Text]:
    """Return how full the limits are; nothing where none is set."""
    if not admission.limits:
        return []
    return [
        Text(f"limits: {admission.waiting} wait", "yellow" if admission.waiting else ""),
        *(Text(clean(limit_text(one)), "yellow" if one.fill >= FULL else "") for one in admission.limits),
    ]


def _fleet_parts(summary: Summary) -> list[Text]:
    count, ready = sum(summary.workers.values()), summary.workers.get(READY, 0)
    workers = Text("workers ").append(f"{ready} of {count} ready", "green" if ready == count else "yellow")
    for state, number in sorted(summary.workers.items()):
        if state != READY:
            workers.append(f", {number} {clean(state)}", "red" if state.startswith(BREAKER) else "yellow")
    planes = Text("planes ").append(
        f"{summary.planes} of {summary.data_planes}", "green" if _has_planes(summary) else "red"
    )
    return [workers, planes, Text(f"open {summary.active}")]


def _traffic_parts(traffic: Traffic | None) -> list[Text]:
    if traffic is None:
        return [Text("rates and times come in a few seconds", "dim")]
    parts = [
        Text(f"{amount(traffic.requests)} req/s"),
        Text(f"{amount(traffic.failures)} failed/s", "red" if traffic.failures else ""),
        Text(f"tok/s {amount(traffic.prompt_tokens)} in {amount(traffic.output_tokens)} out"),
    ]
    for name, times in (("ttft", traffic.first_token), ("e2e", traffic.duration)):
        if times is not None:
            parts.append(Text(f"{name} {short_time(times.p50)}/{short_time(times.p95)}"))
    return parts


def _flowed(parts: Sequence[Text], width: int) -> list[Text]:
    """Return the parts in as few lines as hold them whole: half of a number reads like another one."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + 2 + part.cell_len <= width:
            lines[-1].append("  ").append_text(part)
        else:
            lines.append(part.copy())
    return lines


def _has_planes(summary: Summary) -> bool:
    return summary.planes >= summary.data_planes


def _planes(status: Status, width: int, most: int) -> list[Text]:
    """Return the planes in as many columns as fit; where there is no room for all, those that serve come last."""
    version = status.control_plane.version
    told = [(_plane(plane, version), plane.state) for plane in status.planes]
    cell = max((len(text) for text, _ in told), default=0) + 3
    in_line = max(1, (width - 1) // cell)
    if len(told) > most * in_line:
        told.sort(key=lambda plane: plane[1] == "serving")
    lines = []
    for start in range(0, min(len(told), most * in_line), in_line):
        lines.append(Text())
        for text, state in told[start : start + in_line]:
            lines[-1].append(fitted(text, cell), "" if state == "serving" else "red")
    left = len(told) - most * in_line
    if left > 0:
        lines[-1] = Text(f"and {left + in_line} planes more, of which {_serving(told[-left - in_line :])} serve")
    return lines


def _serving(planes: Sequence[tuple[str, str]]) -> int:
    return sum(state == "serving" for _, state in planes)


def _plane(plane: Plane, usual_version: str) -> str:
    table = f"v{plane.table.version}" if plane.table is not None else "no table"
    age = f" {duration(plane.table_age)}" if plane.table_age is not None else ""
    rate = f"  {amount(plane.request_rate)}/s" if plane.request_rate is not None else ""
    version = f"  is {plane.version}" if plane.version != usual_version else ""
    return clean(f"plane {plane.place} {plane.state}  {table}{age}{rate}{version}")


def _notes(status: Status, most: int) -> list[Text]:
    """Return what should be looked at; where there is no room for all, how many there are besides."""
    found = notes(status)
    shown_notes = found if len(found) <= most else found[: most - 1]
    lines = [Text(f"! {note.text}", "red" if note.is_bad else "yellow") for note in shown_notes]
    if left := len(found) - len(shown_notes):
        lines.append(Text(f"! and {left} more; see `routerctl status`", "yellow"))
    return lines


# --- workers -----------------------------------------------------------------------------------------------------


class _Table(NamedTuple):
    """The title and the lines below it, of which the one at `at` must be seen."""

    title: Text
    lines: list[Text]
    at: int = 0

    def seen(self, rows: int) -> list[Text]:
        """Return the part that so many rows show."""
        if rows < 2:
            return self.lines[self.at : self.at + max(0, rows)]
        # In the middle: it stays in sight whatever the screen's size is.
        start = min(max(0, self.at - (rows - 1) // 2), max(0, len(self.lines) - (rows - 1)))
        return [self.title, *self.lines[start : start + rows - 1]]


def _workers(snapshot: Snapshot, view: View, screen: Screen) -> _Table:
    workers = shown(snapshot, view)
    longest = max((len(short_name(worker)) for worker in workers), default=NAME_LEAST)
    name, columns = fitting(screen.width, longest)
    title = Text(heading(name, columns), "bold underline")
    if not workers:
        rest = "; Esc lists all" if screen.has_keys else ""
        return _Table(title, [Text(f"no worker has this text{rest}" if view.filter else "no workers")])
    place = place_of(workers, view.chosen) if screen.has_keys else None
    lines: list[Text] = []
    at = 0
    fulls = _fulls(workers)
    has_roles = len(fulls) > 1
    before = ""
    for number, worker in enumerate(workers):
        if has_roles and worker.role != before:
            lines.append(Text(_role(worker.role, workers), "bold"))
            before = worker.role
        is_chosen = number == place
        if is_chosen:
            at = len(lines)
        text = line(Row(worker, worker.capacity or fulls[worker.role], screen.is_ascii), name, columns, is_chosen)
        style = _STATES.get(state_of(worker), "red") or ("yellow" if worker.reason else "")
        lines.append(Text(text, "reverse" if is_chosen else style))
    return _Table(title, lines, at)


def _fulls(workers: Iterable[Worker]) -> dict[str, float]:
    """Return what the busiest worker of each role has: what a full bar is where no capacity is known."""
    fulls: dict[str, float] = {}
    for worker in workers:
        fulls[worker.role] = max(fulls.get(worker.role, 0.0), busyness(worker))
    return fulls


def _role(role: str, workers: Iterable[Worker]) -> str:
    own = [worker for worker in workers if worker.role == role]
    ready = sum(state_of(worker) == "ready" for worker in own)
    rate = sum(worker.traffic.requests for worker in own if worker.traffic is not None)
    busy = counted(round(sum(busyness(worker) for worker in own)), "request", "requests")
    return f"{clean(role)}: {ready} of {len(own)} ready, {busy}, {amount(rate)} req/s"


def _detail(snapshot: Snapshot, view: View, width: int) -> Text:
    workers = shown(snapshot, view)
    if not workers:
        return Text()
    worker = workers[place_of(workers, view.chosen)]
    state, age, reason = worker_state(worker.state, worker.age, worker.breaker, is_drained=worker.drained)
    parts = [
        f"{worker.id} {state} for {duration(age)}",
        reason or worker.reason,
        f"version {worker.version}" if worker.version else "",
        f"life {worker.epoch}" if worker.epoch > 1 else "",
        ", ".join(worker.models or ()),
    ]
    return Text(with_short_names(clean("; ".join(part for part in parts if part)), width), "italic")


# --- events, help, footer ----------------------------------------------------------------------------------------


def _events(events: Sequence[Event], most: int, width: int) -> list[Text]:
    if not events:
        return []
    lines = [Text("EVENTS", "bold underline")]
    for event in events[-most:]:
        level = "" if event.level == "info" else f"{event.level}: "
        told = with_short_names(f"{_clock(event.time)} {level}{clean(event.text)}", width)
        lines.append(Text(told, _LEVELS.get(event.level, "")))
    return lines


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def _help(screen: Screen) -> list[Text]:
    lines = [Text("routerctl top: keys", "bold"), Text()]
    lines += [Text(f"  {keys:<14} {what}") for keys, what in KEYS]
    lines += [Text(), *(Text(f"  {text}") for text in _LEGEND)]
    return lines[: screen.height - 1]


def _footer(seen: Seen, view: View, width: int) -> Text:
    if view.mode == "help":
        return Text("any key goes back", "bold")
    if view.mode == "filter":
        return Text(f"list only: {clean(view.filter)}_   Enter keeps it, Esc lists all", "bold")
    if view.mode == "confirm" and view.asked is not None:
        asked = f"{view.asked.verb} {clean(view.asked.worker)}? {_effect(seen, view)}  y yes, n no"
        return Text(with_short_names(asked, width), "bold yellow")
    if view.message:
        return Text(with_short_names(clean(view.message), width), "bold")
    order = f"{view.order}{' reversed' if view.is_reversed else ''}"
    told = f"q quit  ? help  s sort: {order}  / filter{f': {clean(view.filter)}' if view.filter else ''}  d drain"
    return Text(f"{told}  u undrain{'  PAUSED (p goes on)' if view.is_paused else ''}", "dim")


def _effect(seen: Seen, view: View) -> str:
    workers = seen.snapshot.status.workers if seen.snapshot is not None else ()
    worker = next((one for one in workers if view.asked is not None and one.id == view.asked.worker), None)
    if worker is None:
        return "it is not there any more"
    if view.asked is not None and view.asked.verb == "undrain":
        return "it gets requests again"
    goes_on = "1 open one goes on" if worker.inflight == 1 else f"{worker.inflight} open ones go on"
    return f"no new requests, {goes_on}"
