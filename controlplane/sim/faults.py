"""Faults a worker can be told to show, and which of them meets a given request.

A fault is a message (`{"name": "status", "status": 503, "first": 2}`), or on the command line
`status=503`. One fault of each name can be active on a worker; a new one replaces the old.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar, TypeVar

import msgspec


class FaultError(ValueError):
    """A fault that cannot be understood; one line."""


class Base(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name"):
    """What every fault has."""

    main: ClassVar[str] = ""
    """The field that a value on the command line sets."""

    probability: float = 1.0
    first: int | None = None
    """Only the first so many requests that it could meet."""
    path: str = "/v1/"
    """Only requests whose target begins so; "/" meets health checks too."""


F = TypeVar("F", bound=Base)


class Refuse(Base, frozen=True, tag="refuse"):
    """Close the listener and idle connections: new connections are refused, requests under way go on."""


class Status(Base, frozen=True, tag="status"):
    """Answer with an error status instead of doing the work."""

    main: ClassVar[str] = "status"
    status: int = 500
    retry_after: int | None = None


class Slow(Base, frozen=True, tag="slow"):
    """Wait so many seconds before the headers."""

    main: ClassVar[str] = "seconds"
    seconds: float = 1.0


class Stall(Base, frozen=True, tag="stall"):
    """Never answer; or stop for ever after so many chunks (0: after the headers)."""

    main: ClassVar[str] = "after_chunks"
    after_chunks: int | None = None


class Die(Base, frozen=True, tag="die"):
    """Reset the connection before the headers, or after so many chunks; or let the whole worker die.

    With `worker` the listener and every connection of the worker go, and it stays dead until the fault is
    removed: at once, or with `after_chunks` when an answer has got that far.
    """

    main: ClassVar[str] = "after_chunks"
    after_chunks: int | None = None
    worker: bool = False


class BadChunk(Base, frozen=True, tag="bad_chunk"):
    """Send a chunk size that is no number after so many chunks, then close."""

    main: ClassVar[str] = "after_chunks"
    after_chunks: int = 1


class ShortBody(Base, frozen=True, tag="short_body"):
    """Promise more bytes than are sent, then close; a chunked body loses its end."""

    main: ClassVar[str] = "missing"
    missing: int = 1


class ExtraBytes(Base, frozen=True, tag="extra_bytes"):
    """Send so many bytes behind the end of the body, and keep the connection."""

    main: ClassVar[str] = "count"
    count: int = 16


class CloseIdle(Base, frozen=True, tag="close_idle"):
    """Close the connection right after an answer that promised to keep it."""


class ErrorEvent(Base, frozen=True, tag="error_event"):
    """Answer 200, and the error as the stream's first event; 500 when no stream was asked for."""

    main: ClassVar[str] = "code"
    code: int = 500


class StuckGauges(Base, frozen=True, tag="stuck_gauges"):
    """Tell in `/metrics`, while nothing runs or waits, what was told last while something did (vllm#29928)."""


class Cut(Base, frozen=True, tag="cut"):
    """Get no KV cache from one other worker (`host:port`), as when the link between the two is cut."""

    main: ClassVar[str] = "peer"
    peer: str


class LostPings(Base, frozen=True, tag="lost_pings"):
    """Send no registrations: none, a part of them (`probability`), or not the next so many (`first`)."""

    target: ClassVar[str] = "ping"
    path: str = target


class LatePings(Base, frozen=True, tag="late_pings"):
    """Send each registration late by up to so many seconds, at random."""

    main: ClassVar[str] = "seconds"
    seconds: float = 2.0
    path: str = LostPings.target


Fault = (
    Refuse | Status | Slow | Stall | Die | BadChunk | ShortBody | ExtraBytes | CloseIdle | ErrorEvent | StuckGauges
    | Cut | LostPings | LatePings
)  # fmt: skip

KINDS: dict[str, type[Fault]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        Refuse, Status, Slow, Stall, Die, BadChunk, ShortBody, ExtraBytes, CloseIdle, ErrorEvent, StuckGauges, Cut,
        LostPings, LatePings,
    )
}  # fmt: skip


def name_of(fault: Fault) -> str:
    """Return the fault's name as it stands in messages."""
    return str(fault.__struct_config__.tag)


def decode(body: bytes) -> list[Fault]:
    """Return the faults of a JSON body: one object or a list of them."""
    try:
        found = msgspec.json.decode(body, type=Fault | list[Fault])
    except msgspec.DecodeError as error:
        raise FaultError(f"{error}; a fault is an object such as {{'name': 'status', 'status': 503}}") from error
    faults: list[Fault] = found if isinstance(found, list) else [found]
    for fault in faults:
        _check(fault)
    return faults


def parse(argument: str) -> tuple[int | None, Fault]:
    """Return (worker index or None for all, fault) of `[INDEX:]NAME[=VALUE][,FIELD=VALUE...]`."""
    head, colon, rest = argument.partition(":")
    index, words = (int(head), rest) if colon and head.isdigit() else (None, argument)
    first, *others = words.split(",")
    name, equals, value = first.partition("=")
    kind = KINDS.get(name)
    if kind is None:
        raise FaultError(f"--fault {argument}: no fault is called {name!r}; there are {', '.join(KINDS)}")
    fields: dict[str, Any] = {"name": name}
    if name == "die" and value == "worker":
        fields["worker"] = True
    elif equals:
        if not kind.main:
            raise FaultError(f"--fault {argument}: {name} takes no value; use --fault {name}")
        fields[kind.main] = _scalar(value)
    for other in others:
        key, _, text = other.partition("=")
        fields[key] = _scalar(text)
    try:
        fault = msgspec.convert(fields, type=Fault)
        _check(fault)
    except (msgspec.ValidationError, FaultError) as error:
        raise FaultError(f"--fault {argument}: {error}") from error
    return index, fault


def _scalar(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _check(fault: Fault) -> None:
    if not 0 <= fault.probability <= 1:
        raise FaultError(f"probability {fault.probability:g} is outside 0..1")
    if isinstance(fault, Status) and not 400 <= fault.status <= 599:
        raise FaultError(f"status {fault.status} is outside 400..599")


class FaultSet:
    """The faults of one worker; mutable: `first` counts down as requests come."""

    def __init__(self, seed: int = 0) -> None:
        self._faults: dict[str, Fault] = {}
        self._left: dict[str, int] = {}
        self._random = random.Random(seed)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, fault: Fault) -> None:
        """Put a fault in force, in place of one of the same name."""
        name = name_of(fault)
        self._faults[name] = fault
        self._left.pop(name, None)
        if fault.first is not None:
            self._left[name] = fault.first

    def clear(self, name: str | None = None) -> None:
        """Remove one fault, or all."""
        if name is None:
            self._faults.clear()
        else:
            self._faults.pop(name, None)

    def active(self) -> list[Fault]:
        """Return the faults in force, used-up ones included, in the order they came."""
        return list(self._faults.values())

    @property
    def dead(self) -> bool:
        """Whether the whole worker is to be dead from now on."""
        die = self._faults.get("die")
        return isinstance(die, Die) and die.worker and die.after_chunks is None

    @property
    def sticks(self) -> bool:
        """Whether the gauges are to stay as they are once nothing runs any more."""
        return "stuck_gauges" in self._faults

    def cuts(self, peer: str) -> bool:
        """Whether the link to another worker (`host:port`) is cut."""
        cut = self._faults.get("cut")
        return isinstance(cut, Cut) and cut.peer == peer

    @property
    def refuses(self) -> bool:
        """Whether the listener is to be closed."""
        return "refuse" in self._faults or self.dead

    def meet(self, target: str) -> Meeting | None:
        """Return what a request with this target meets, or None; counts it against `first`."""
        met: dict[str, Fault] = {}
        for name, fault in self._faults.items():
            if not target.startswith(fault.path) or self._left.get(name, 1) <= 0:
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            if name in self._left:
                self._left[name] -= 1
            met[name] = fault
        return Meeting(met) if met else None


class Meeting:
    """The faults one request meets."""

    __slots__ = ("_met",)

    def __init__(self, met: dict[str, Fault]) -> None:
        self._met = met

    def __bool__(self) -> bool:
        return bool(self._met)

    def get(self, kind: type[F]) -> F | None:
        """Return the fault of one kind, if it is met."""
        fault = self._met.get(str(kind.__struct_config__.tag))
        return fault if isinstance(fault, kind) else None
