"""Registration, version 2: how an engine, or who stands beside it, announces a worker to a router, byte by byte.

One ZeroMQ frame from a DEALER to the router's ROUTER, and one frame back where it was asked for. `docs/registration.md`
is the description for those who write the other side. A frame is msgpack, an array of two: the version as one byte,
and a map. So its first byte (`0x92`) tells it from the maps that vLLM's own connectors send, and a later version is
known before anything of it is read. Unknown keys of the map are ignored: new ones may come without a new version.

Everything is said anew with every ping, so a router needs nothing but the last one it heard, and a lost one costs
nothing. The codec has no state: which of two frames counts is decided by `controlplane.discovery`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from shared.config import ConfigError
from shared.decoding import DECODE_ERRORS
from shared.table import Role
from shared.transfer import Transfer
from shared.worker_attributes import ATTRIBUTES, wrong_attributes
from shared.worker_rank import MAX_RANKS
from shared.worker_url import check_worker_url

VERSION = 2
MAX_FRAME = 16 * 1024
"""Bytes: 64 ranks with KV events and engine ids, and 100 LoRA adapters, are 13 KB; a queue of 1,000 stays small."""
MAX_MODELS = 1024
MAX_MODEL = 512
MAX_TEXT = 256
"""Characters of an address, a topic, an engine's id, a reason."""
MAX_VERSION_TEXT = 64
INTERVALS = (0.1, 3600.0)
"""Seconds between pings."""
MAX_NUMBER = 2**63 - 1

_LONGEST_FAULT = 300
_ARRAY_OF_TWO = 0x92
_HEAD = bytes((_ARRAY_OF_TWO, VERSION))
_registrar = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch
_connector = re.compile(r"[A-Za-z0-9_.:-]{0,64}").fullmatch
_endpoint = re.compile(r"tcp://[^\s/=,]+:[0-9]{1,5}").fullmatch


class RegistrationError(ValueError):
    """A frame that can not be used, or must not be sent; its message, one line of at most 300 characters, says why."""

    def __init__(self, message: str) -> None:
        # It may quote what a stranger sent, and goes into logs.
        shown = message if message.isprintable() else repr(message)[1:-1]
        super().__init__(shown if len(shown) <= _LONGEST_FAULT else f"{shown[: _LONGEST_FAULT - 3]}...")


class KvSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where one data-parallel rank publishes its KV events, as the router reaches it (`tcp://HOST:PORT`).

    `replay` is where past ones can be asked for; None: nowhere.
    """

    rank: int = 0
    endpoint: str
    replay: str | None = None
    topic: str = ""


class _Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What every frame from an engine's side has.

    `registrar` is the sender's life: a text made up anew when it starts. `seq` counts its frames, from 1 on. `ask` asks
    for an answer.
    """

    registrar: str
    seq: int
    url: str
    ask: bool = False


class Announcement(_Frame, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """A worker is at `url`, and this is what is known of it; None is not known, or not said.

    `epoch` is the engine's life: another one means that its process was started anew. `interval` is the time to the
    next ping in seconds. `process_start` is Unix time in seconds. `ranks` is how many data-parallel ranks requests can
    name at the URL. `capacity`, `max_concurrent_requests`, `weight`, `priority` and `labels` are as in
    `shared.table.Worker`.
    """

    epoch: int
    interval: float = 3.0
    role: Role | None = None
    models: tuple[str, ...] | None = None
    version: str | None = None
    process_start: float | None = None
    ranks: int | None = None
    transfer: Transfer | None = None
    kv_events: tuple[KvSource, ...] | None = None
    labels: dict[str, str] = {}
    weight: float | None = None
    capacity: float | None = None
    max_concurrent_requests: int | None = None
    priority: int | None = None


class Hello(Announcement, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="hello"):
    """The first announcement of a registrar's or of an engine's life, or one that says something else than before."""


class Ping(Announcement, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="ping"):
    """The same announcement again: the worker is still there."""


class Goodbye(_Frame, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="goodbye"):
    """The worker leaves, or its engine has died; `reason` is for people."""

    reason: str = ""


class Accepted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="accepted"):
    """The router's answer to the frame of that number: it counts."""

    seq: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="refused"):
    """The router's answer to the frame of that number (0: one that could not be read): it does not count, and why."""

    seq: int
    reason: str


FromEngine = Hello | Ping | Goodbye
FromRouter = Accepted | Refused
M = TypeVar("M", bound=FromEngine | FromRouter)

_encode = msgspec.msgpack.Encoder().encode
_decode_engine: Callable[[memoryview], FromEngine] = msgspec.msgpack.Decoder(FromEngine).decode
_decode_router: Callable[[memoryview], FromRouter] = msgspec.msgpack.Decoder(FromRouter).decode


def is_registration(frame: bytes) -> bool:
    """Whether a frame is meant as one of this protocol, of whatever version, rather than one of vLLM's own."""
    return frame[:1] == _HEAD[:1]


def encode_registration(message: FromEngine | FromRouter) -> bytes:
    """Return the frame. Raises RegistrationError for what the other side would refuse."""
    _check(message)
    frame = _HEAD + _encode(message)
    if len(frame) > MAX_FRAME:
        raise RegistrationError(
            f"it takes {len(frame)} bytes, {MAX_FRAME} is the most; announce fewer models or labels"
        )
    return frame


def decode_from_engine(frame: bytes) -> FromEngine:
    """Return what a frame to a router says. Raises RegistrationError, and nothing else."""
    return _decoded(frame, _decode_engine)


def decode_from_router(frame: bytes) -> FromRouter:
    """Return what a router's answer says. Raises RegistrationError, and nothing else."""
    return _decoded(frame, _decode_router)


def _decoded(frame: bytes, decode: Callable[[memoryview], M]) -> M:
    body = _body(frame)
    try:
        message = decode(body)
    except DECODE_ERRORS as error:
        raise RegistrationError(f"not readable: {error}") from error
    _check(message)
    return message


def _body(frame: bytes) -> memoryview:
    if len(frame) > MAX_FRAME:
        raise RegistrationError(f"{len(frame)} bytes, {MAX_FRAME} is the most")
    if len(frame) < 2 or frame[0] != _ARRAY_OF_TWO:
        raise RegistrationError("no registration: it does not begin with 0x92 and a version")
    if frame[1] != VERSION:
        raise RegistrationError(f"version {frame[1]} of the registration is not known here; send version {VERSION}")
    return memoryview(frame)[2:]


def _check(message: FromEngine | FromRouter) -> None:
    for fault in _faults(message):
        raise RegistrationError(fault)


def _faults(message: FromEngine | FromRouter) -> Iterator[str]:
    yield from _number("seq", message.seq, 0, MAX_NUMBER)
    if isinstance(message, Accepted):
        return
    if not isinstance(message, Announcement):
        yield from _text("reason", message.reason)
    if isinstance(message, Refused):
        return
    if not _registrar(message.registrar):
        yield f"registrar is {_shown(message.registrar)}; write 1 to 64 letters, digits or _.-"
    try:
        check_worker_url("url", message.url)
    except ConfigError as error:
        yield str(error)
    if isinstance(message, Announcement):
        yield from _announcement_faults(message)


def _announcement_faults(message: Announcement) -> Iterator[str]:
    yield from _number("epoch", message.epoch, 0, MAX_NUMBER)
    yield from _number("interval", message.interval, *INTERVALS)
    if message.ranks is not None:
        yield from _number("ranks", message.ranks, 1, MAX_RANKS)
    if message.process_start is not None:
        yield from _number("process_start", message.process_start, 0, 2**40)
    if message.version is not None:
        yield from _text("version", message.version, MAX_VERSION_TEXT)
    models = message.models or ()
    if len(models) > MAX_MODELS:
        yield f"models has {len(models)}; {MAX_MODELS} is the most"
    for model in models:
        if not model:
            yield "models has an empty name"
        yield from _text("models", model, MAX_MODEL)
    said = {name: getattr(message, name) for name in ATTRIBUTES if name != "transfer"}
    for name, fault in wrong_attributes(said):
        yield f"{name} {fault}"
    if message.transfer is not None:
        yield from _transfer_faults(message.transfer)
    if message.kv_events is not None:
        yield from _kv_faults(message.kv_events)


def _transfer_faults(transfer: Transfer) -> Iterator[str]:
    if not _connector(transfer.connector):
        yield f"transfer.connector is {_shown(transfer.connector)}; write a connector's name, such as nixl"
    yield from _text("transfer.address", transfer.address)
    for name, low, high in (("bootstrap_port", 1, 65535), ("dp_size", 1, 65536), ("tp_size", 1, 65536)):
        if (value := getattr(transfer, name)) is not None:
            yield from _number(f"transfer.{name}", value, low, high)
    if len(transfer.engine_ids) > MAX_RANKS:
        yield f"transfer.engine_ids has {len(transfer.engine_ids)}; {MAX_RANKS} is the most"
    for rank, engine in transfer.engine_ids.items():
        if not rank.isascii() or not rank.isdecimal() or len(rank) > 6:
            yield f"transfer.engine_ids has {_shown(rank)}, which is no data-parallel rank"
        yield from _text("transfer.engine_ids", engine)


def _kv_faults(sources: tuple[KvSource, ...]) -> Iterator[str]:
    if len(sources) > MAX_RANKS:
        yield f"kv_events has {len(sources)}; {MAX_RANKS} is the most"
    if len({source.rank for source in sources}) < len(sources):
        yield "kv_events has a rank twice"
    for source in sources:
        yield from _number("kv_events.rank", source.rank, 0, MAX_RANKS - 1)
        yield from _text("kv_events.topic", source.topic)
        for endpoint in (source.endpoint, source.replay):
            if endpoint is not None and not (
                endpoint.isprintable() and len(endpoint) <= MAX_TEXT and _endpoint(endpoint)
            ):
                yield f"kv_events has {_shown(endpoint)}; write tcp://HOST:PORT"


def _number(name: str, value: float, low: float, high: float) -> Iterator[str]:
    # Every comparison with NaN is false.
    if not low <= value <= high or not math.isfinite(value):
        yield f"{name} is {value:.12g}; it must be from {low:.12g} to {high:.12g}"


def _text(name: str, value: str, longest: int = MAX_TEXT) -> Iterator[str]:
    if len(value) > longest or not value.isprintable():
        yield f"{name} has {_shown(value)}; write at most {longest} printable characters"


def _shown(value: Any) -> str:
    return repr(value[:60])
