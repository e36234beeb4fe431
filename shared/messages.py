"""Every message between the control plane and the planes, and the one place that encodes and decodes them.

Downward, on PUB: two frames, a topic of one byte and a message. Each carries the stamp of the table that
was current when it was sent, so a plane learns from any frame that it has missed something.
Downward, on ROUTER: a `Snapshot`, `ControlStatus`, `FleetAnswer` or `KvPage`s, to the one that asked; a
`ReceiptRequest`, a `RequestLinesRequest`, a `Trial` or a `LeaseGrant`, to one plane.
Upward, on DEALER: one frame, a message.
On a plane's own socket: `PlaneStatusRequest` and `PlaneRetire` are answered by `PlaneStatus`.

Messages are msgspec Structs with a tag, in msgpack. Decoding is the validation: what does not fit raises
`MessageError`, and the receiver counts and drops it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.breaker import ProbeNewsKind
from shared.decoding import DECODE_ERRORS
from shared.kv_messages import KvPage, KvRequest, KvStanding, KvUpdate
from shared.leases import LeaseGrant, LeaseReport
from shared.limits import Taken
from shared.plane_identity import PlaneIdentity
from shared.plane_report import CounterReport, PairReport, PolicyLack
from shared.policy_places import PolicyPlace
from shared.question_messages import (
    ReceiptAnswer,
    ReceiptRequest,
    RequestLinesAnswer,
    RequestLinesRequest,
    Trial,
    Tried,
)
from shared.table import ModelCard, RoutingTable, Settings, Stamp, TableChange, Worker
from shared.worker_attributes import WorkerAttributes

TOPIC_TABLE = b"t"
TOPIC_HEARTBEAT = b"h"
TOPIC_LOAD = b"l"
TOPIC_INFLIGHT = b"i"
TOPIC_LEARNT = b"p"
TOPIC_KV = b"k"

HEARTBEAT_INTERVAL = 0.25
"""Seconds between heartbeats: four may be lost before a plane calls itself stale."""
STALE_AFTER = 1.0
"""Seconds of silence after which a plane trusts only its own figures."""
INFLIGHT_INTERVAL = 0.1
COUNTER_INTERVAL = 1.0
INFLIGHT_UNKNOWN_AFTER = 3.0
"""Seconds after which another plane's in-flight is no longer counted; it is told each `COUNTER_INTERVAL` at least."""
LOAD_UNKNOWN_AFTER = 3.0
"""Seconds after which an engine's figure is no longer used."""
MAX_LEARNT = 4096
"""Hashes in a report, of 8 bytes each: 1,000 new prompts of 4 blocks in a tenth of a second. More are not told."""
MAX_MESSAGE_SIZE = 64 * 1024 * 1024
"""Bytes; a table of 10,000 workers takes about 2 MB."""


class MessageError(ValueError):
    """A frame that is no message of this version of the protocol."""


# --- downward, PUB -----------------------------------------------------------------------------------------


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """The control plane lives and this is its table."""

    stamp: Stamp


class TableUpdate(msgspec.Struct, frozen=True, tag="update"):
    """`stamp` is that of the table after the change; its version is one more than before."""

    stamp: Stamp
    change: TableChange


class WorkerLoad(msgspec.Struct, frozen=True, array_like=True):
    """An engine's own figures: requests running and waiting, KV cache in use (0..1), age in seconds when sent."""

    running: float
    waiting: float
    kv_usage: float
    age: float


class LoadReport(msgspec.Struct, frozen=True, tag="load"):
    """Newest wins: a report with a `seq` not above the last one's is dropped. Keys are worker ids."""

    stamp: Stamp
    seq: int
    loads: dict[str, WorkerLoad]


class PlaneInflight(msgspec.Struct, frozen=True, tag="plane-inflight"):
    """What plane `plane` has in flight, passed on to the others. Workers without any are left out.

    `prefill` is as in `InflightReport`.
    """

    stamp: Stamp
    plane: str
    seq: int
    counts: dict[str, int]
    prefill: dict[str, int]


class Learnt(msgspec.Struct, frozen=True, array_like=True):
    """What a plane's policy has learnt of a worker's life `epoch`: hashes of 64 bits, little-endian, one after another.

    Of what is the policy's to know: prompts' blocks, or sessions.
    """

    epoch: int
    hashes: bytes


class PlaneLearnt(msgspec.Struct, frozen=True, tag="plane-learnt"):
    """What a policy of plane `plane` has learnt since it told last, passed on to the others. Keys are worker ids.

    It is for the policy in the same place.
    """

    stamp: Stamp
    plane: str
    policy: str
    learnt: dict[str, Learnt]
    place: PolicyPlace


# --- downward, ROUTER --------------------------------------------------------------------------------------


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """The whole table, answering the request of the same id."""

    request_id: int
    stamp: Stamp
    workers: tuple[Worker, ...]
    models: tuple[ModelCard, ...]
    settings: Settings


class FleetAnswer(msgspec.Struct, frozen=True, tag="fleet-answer"):
    """What became of the command of the same id; `code` is empty when it was done."""

    request_id: int
    stamp: Stamp
    code: str
    message: str


# --- upward, DEALER ----------------------------------------------------------------------------------------


class SnapshotRequest(msgspec.Struct, frozen=True, tag="snapshot-request"):
    """Sent once the subscription is proven, and after every gap."""

    plane: PlaneIdentity
    request_id: int


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """The plane serves from this table."""

    plane: PlaneIdentity
    stamp: Stamp


class Nack(msgspec.Struct, frozen=True, tag="nack"):
    """The plane refused this table and keeps the one it had."""

    plane: PlaneIdentity
    stamp: Stamp
    reason: str


class InflightReport(msgspec.Struct, frozen=True, tag="inflight"):
    """In-flight requests per worker id: every `INFLIGHT_INTERVAL` when changed, else every `COUNTER_INTERVAL`.

    The repetition is for planes that have just started, and shows that those told of still live. `prefill` has the
    tokens of their prompts that wait for an answer's beginning, where the policy counts them. `active` as in
    `CounterReport`, of the same instant.
    """

    plane: PlaneIdentity
    seq: int
    counts: dict[str, int]
    prefill: dict[str, int]
    active: int


class LearntReport(msgspec.Struct, frozen=True, tag="learnt"):
    """What a policy of the plane has learnt since it told last; at most `MAX_LEARNT` hashes, told once."""

    plane: PlaneIdentity
    policy: str
    learnt: dict[str, Learnt]
    place: PolicyPlace


EvidenceKind = Literal["no-address", "connect-failed", "closed-before-answer", "bad-answer", "stalled", "error-status"]


class Evidence(msgspec.Struct, frozen=True, tag="evidence"):
    """What a plane saw of a worker's present life that speaks against it; sent at once.

    `requests` is how many that plane has begun there since its evidence before, this one included; `tripped` tells
    that its own breaker opened with it. `status` is that of an answer, 0 for other kinds.
    """

    plane: PlaneIdentity
    worker: str
    worker_epoch: int
    kind: EvidenceKind
    requests: int
    tripped: bool
    status: int


class ProbeNews(msgspec.Struct, frozen=True, tag="probe"):
    """How it stands with a probe of a half-open breaker (`shared.breaker.probed`)."""

    plane: PlaneIdentity
    worker: str
    worker_epoch: int
    kind: ProbeNewsKind


class Goodbye(msgspec.Struct, frozen=True, tag="goodbye"):
    """The plane ends by request; its last figures went before.

    `windows` is what it took of limits per minute, by the limits' names, as in `shared.limits.Taken`.
    """

    plane: PlaneIdentity
    windows: dict[str, Taken]


FleetVerb = Literal["add", "remove", "flush-cache", "load-adapter", "unload-adapter"]


class FleetCommand(msgspec.Struct, frozen=True, tag="fleet-command"):
    """A client of the plane wants a worker added or removed, all caches emptied (`url` is empty then), or an adapter.

    Of an adapter `url` is the `shared.adapters.AdapterOrder`, and the answer's `message` an `AdapterAnswer`, in JSON.
    Answered by `FleetAnswer` of the same id. `said` is what a worker that is added is like.
    """

    plane: PlaneIdentity
    request_id: int
    verb: FleetVerb
    url: str
    said: WorkerAttributes


class ControlStatusRequest(msgspec.Struct, frozen=True, tag="control-status-request"):
    """Asks the control plane how it is. Answered by `ControlStatus`."""


class ControlStatus(msgspec.Struct, frozen=True, tag="control-status", kw_only=True):
    """How the control plane is, told by itself; `ready_workers` counts routable workers.

    `refused` is why a plane refuses the present table, empty when none does. `ports_settled` tells whether its HTTP
    ports are open, or known to be taken by somebody else.
    """

    pid: int
    version: str
    stamp: Stamp
    workers: int
    ready_workers: int
    refused: str
    ports_settled: bool


# --- a plane's own socket ----------------------------------------------------------------------------------


class PlaneStatusRequest(msgspec.Struct, frozen=True, tag="plane-status-request"):
    """Asks a plane how it is. Answered by `PlaneStatus`."""


class PlaneRetire(msgspec.Struct, frozen=True, tag="plane-retire"):
    """Tells a plane that the router goes on without it: when it is stopped, nobody needs to be told. Answered alike."""


class PlaneStatus(msgspec.Struct, frozen=True, tag="plane-status", kw_only=True):
    """How a plane is, told by itself. `listening` is false while it drains. Ages in seconds.

    `heard_age` is that of the last word of the control plane; None before the first one. `waits_for`, `lacks` and
    `pairs` are as in `CounterReport`.
    """

    plane: PlaneIdentity
    fingerprint: str
    listening: bool
    table: Stamp | None
    table_age: float
    workers: int
    ready_workers: int
    stale: bool
    active: int
    client_connections: int
    client_connection_limit: int
    heard_age: float | None
    waits_for: str
    lacks: tuple[PolicyLack, ...]
    pairs: PairReport | None


Published = Heartbeat | TableUpdate | LoadReport | PlaneInflight | PlaneLearnt | KvUpdate | KvStanding
Answers = ControlStatus | FleetAnswer | KvPage
Downward = Published | Snapshot | Answers | ReceiptRequest | RequestLinesRequest | Trial | LeaseGrant
Upward = (
    SnapshotRequest
    | Ack
    | Nack
    | Tried
    | InflightReport
    | LearntReport
    | Evidence
    | ProbeNews
    | CounterReport
    | Goodbye
    | ControlStatusRequest
    | FleetCommand
    | ReceiptAnswer
    | RequestLinesAnswer
    | KvRequest
    | LeaseReport
)
PlaneSocket = PlaneStatusRequest | PlaneRetire | PlaneStatus
Message = Downward | Upward | PlaneSocket

_encoder = msgspec.msgpack.Encoder()
_downward: msgspec.msgpack.Decoder[Downward] = msgspec.msgpack.Decoder(Downward)
_upward: msgspec.msgpack.Decoder[Upward] = msgspec.msgpack.Decoder(Upward)
_plane_socket: msgspec.msgpack.Decoder[PlaneSocket] = msgspec.msgpack.Decoder(PlaneSocket)
_table = msgspec.msgpack.Decoder(RoutingTable)


def encode(message: Message | RoutingTable) -> bytes:
    """Return the message's frame."""
    return _encoder.encode(message)


def decode_downward(frame: bytes) -> Downward:
    """Read a frame from the control plane. Raises MessageError."""
    try:
        return _downward.decode(frame)
    except DECODE_ERRORS as error:
        raise MessageError(str(error)) from error


def decode_upward(frame: bytes) -> Upward:
    """Read a frame from a plane. Raises MessageError."""
    try:
        return _upward.decode(frame)
    except DECODE_ERRORS as error:
        raise MessageError(str(error)) from error


def decode_plane_socket(frame: bytes) -> PlaneSocket:
    """Read a frame on a plane's own socket. Raises MessageError."""
    try:
        return _plane_socket.decode(frame)
    except DECODE_ERRORS as error:
        raise MessageError(str(error)) from error


def decode_table(data: bytes) -> RoutingTable:
    """Read a table kept on disk. Raises MessageError."""
    try:
        return _table.decode(data)
    except DECODE_ERRORS as error:
        raise MessageError(str(error)) from error
