"""Every message comes back as it was sent, and nothing else comes through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.kv_messages import KvPage, KvRequest, KvSourceState, KvStanding, KvUpdate
from shared.leases import Holding, Lease, LeaseGrant, LeaseReport
from shared.messages import (
    Ack,
    ControlStatus,
    ControlStatusRequest,
    Downward,
    Evidence,
    FleetAnswer,
    FleetCommand,
    Goodbye,
    Heartbeat,
    InflightReport,
    Learnt,
    LearntReport,
    LoadReport,
    Message,
    MessageError,
    Nack,
    PlaneInflight,
    PlaneLearnt,
    PlaneRetire,
    PlaneSocket,
    PlaneStatus,
    PlaneStatusRequest,
    ProbeNews,
    Snapshot,
    SnapshotRequest,
    TableUpdate,
    Upward,
    WorkerLoad,
    decode_downward,
    decode_plane_socket,
    decode_table,
    decode_upward,
    encode,
)
from shared.plane_identity import PlaneIdentity
from shared.plane_report import (
    CounterReport,
    CounterSeries,
    Exemplar,
    HistogramSeries,
    OpenPair,
    PairReport,
    PolicyLack,
    WorkerOutcomes,
)
from shared.policy_places import PolicyPlace
from shared.question_messages import (
    ReceiptAnswer,
    ReceiptRequest,
    RequestLinesAnswer,
    RequestLinesRequest,
    Trial,
    Tried,
)
from shared.receipt import AttemptReceipt, ChoiceReceipt, LeftOut, LoadReceipt, Receipt
from shared.request_lines import RequestLine, RequestLines
from shared.table import ModelCard, Settings, Stamp, TableChange, Worker, make_table
from shared.worker_attributes import WorkerAttributes

STAMP = Stamp(3, 2**40, 2**64 - 1)
KV = KvSourceState("http://ä:1", 1, 5, 2**40, 16, 3)
PLANE = PlaneIdentity(id="0123456789abcdef", slot=2, pid=77, version="0.1.0", started=1.75e9)
WORKER = Worker(id="http://ä:1", url="http://ä:1", epoch=2, state="ready", reason="x", since=5.5, models=("m", "n"))
PLACE = PolicyPlace("prefill", "ä")
CARD = ModelCard(id="m", card=b'{"id":"m"}\x00\xff')
LINES = RequestLines(
    active=2,
    open=(RequestLine(request="abc", plane="2", method="POST", path="/", arrived=1.75e9, phase="waiting"),),
)
RECEIPT = Receipt(
    request="abc",
    plane="2",
    method="POST",
    path="/v1/completions",
    arrived=1.75e9,
    ended=0.5,
    outcome="answered",
    status=200,
    policy="random",
    epoch=3,
    version=9,
    model="m",
    first_byte=0.25,
    attempts=(
        AttemptReceipt(
            worker="w",
            began=0.125,
            failed="status 503",
            is_detailed=True,
            choices=(ChoiceReceipt(worker="w", reason="any", score=1.5, load=LoadReceipt(in_flight=1)),),
            left_out=(LeftOut(worker="x", reason="draining"),),
        ),
    ),
)

DOWNWARD: list[Downward] = [
    Heartbeat(STAMP),
    TableUpdate(STAMP, TableChange(upsert_workers=(WORKER,), remove_workers=("x",), settings=Settings())),
    TableUpdate(STAMP, TableChange(upsert_models=(CARD,), remove_models=("y",))),
    TableUpdate(STAMP, TableChange()),
    LoadReport(STAMP, 9, {"w": WorkerLoad(1.0, 2.0, 0.5, 0.25)}),
    PlaneInflight(STAMP, "p", 4, {"w": 3}, {"w": 20_000}),
    PlaneInflight(STAMP, "p", 5, {}, {}),
    PlaneLearnt(STAMP, "p", "cache_aware", {"w": Learnt(3, b"\xff" * 16)}, PLACE),
    Snapshot(1, STAMP, (WORKER, Worker(id="b", url="b")), (CARD,), Settings(policy="random")),
    ControlStatus(pid=1, version="v", stamp=STAMP, workers=2, ready_workers=1, refused="", ports_settled=True),
    FleetAnswer(7, STAMP, "worker_exists", "there is one"),
    ReceiptRequest(8, STAMP, "abc"),
    RequestLinesRequest(9, STAMP, 50, True),
    Trial(3, STAMP, Settings(policy="random")),
    LeaseGrant(STAMP, 4, 3, 2, {"total": Lease(40, 25), "key:a:open": None}),
    KvUpdate(STAMP, KV, b"12345678", b"\1"),
    KvStanding(STAMP, (KV,)),
    KvPage(3, STAMP, KV, 0, 1, b"12345678", b"\1"),
]
UPWARD: list[Upward] = [
    SnapshotRequest(PLANE, 5),
    Ack(PLANE, STAMP),
    Nack(PLANE, STAMP, "because"),
    Tried(PLANE, 3, "because"),
    InflightReport(PLANE, 3, {"w": 1}, {"w": 500}, 0),
    LearntReport(PLANE, "cache_aware", {"w": Learnt(3, b"")}, PolicyPlace()),
    Evidence(PLANE, "w", 2, "connect-failed", 1, False, 0),
    ProbeNews(PLANE, "w", 2, "wanted"),
    CounterReport(
        plane=PLANE,
        seq=4,
        active=1,
        table=None,
        table_age=1.5,
        stale=True,
        draining=False,
        waits_for="",
        resyncs=0,
        inflight={"w": 1},
        client_connections=12,
        client_connection_limit=400,
        worker_connections=7,
        kv_blocks=5,
        load_age=None,
        retry_budget=1.5,
        kv_resyncs=0,
        counters=(CounterSeries("requests", ("a", "b", "200"), 5.0),),
        histograms=(HistogramSeries("x", ("r",), (0, 1, 2), 3.5),),
        outcomes={"w": WorkerOutcomes(2, 10, 7, 1, 3, 0.25)},
        lacks=(PolicyLack(PLACE, "kv_aware", "no_events", "by cache_aware", 4),),
        pairs=PairReport("no prefill worker is ready", (OpenPair("p", "d", 3.5),), 1),
        exemplars=(Exemplar("x", ("r",), 1, "0a" * 16, 0.25, 1700000000.125),),
    ),
    Goodbye(PLANE, {"key:k:requests": {12: 3}}),
    ControlStatusRequest(),
    FleetCommand(PLANE, 7, "add", "http://a:1", WorkerAttributes(weight=2, labels={"zone": "a"})),
    ReceiptAnswer(PLANE, 8, RECEIPT),
    RequestLinesAnswer(PLANE, 9, LINES),
    KvRequest(7, "w", 0),
    LeaseReport(PLANE, 2, 9, 4, 1, 8, {"total": Holding(3, 40, 25, ({"": 4}, {}))}, 7),
]
PLANE_SOCKET: list[PlaneSocket] = [
    PlaneStatusRequest(),
    PlaneRetire(),
    PlaneStatus(
        plane=PLANE,
        fingerprint="f",
        listening=True,
        table=STAMP,
        table_age=0.5,
        workers=1,
        ready_workers=1,
        heard_age=None,
        waits_for="",
        lacks=(),
        pairs=None,
        stale=False,
        active=0,
        client_connections=0,
        client_connection_limit=400,
    ),
]

Decode = Callable[[bytes], Any]
DECODERS: list[Decode] = [decode_downward, decode_upward, decode_plane_socket, decode_table]
EVERY: list[tuple[Decode, Message]] = [
    *((decode_downward, message) for message in DOWNWARD),
    *((decode_upward, message) for message in UPWARD),
    *((decode_plane_socket, message) for message in PLANE_SOCKET),
]


def tagged(message: Message) -> str:
    return str(msgspec.msgpack.decode(encode(message))["type"])


every = pytest.mark.parametrize(("decode", "message"), EVERY, ids=[type(message).__name__ for _, message in EVERY])


@every
def test_a_message_comes_back_as_it_was_sent(decode: Decode, message: Message) -> None:
    back = decode(encode(message))
    assert back == message
    assert type(back) is type(message)


def test_every_message_is_tested_here() -> None:
    for union, examples in ((Downward, DOWNWARD), (Upward, UPWARD), (PlaneSocket, PLANE_SOCKET)):
        assert {type(message) for message in examples} == set(union.__args__)


def test_every_message_has_a_tag_of_its_own() -> None:
    tags = {type(message): tagged(message) for _, message in EVERY}
    assert len(set(tags.values())) == len(tags)


def test_a_table_comes_back_as_it_was_kept() -> None:
    table = make_table(epoch=1, version=2, workers=[WORKER], models=[CARD], settings=Settings(data_planes=3))
    assert decode_table(encode(table)) == table


@every
def test_unknown_fields_are_tolerated(decode: Decode, message: Message) -> None:
    """A newer version may add fields: to the message, and to what is in it."""

    def grown(value: object) -> object:
        if isinstance(value, dict) and value.keys() & {"type", "id", "policy", "stamp"}:
            return {"new-field": [1, {"x": None}], **{key: grown(inner) for key, inner in value.items()}}
        return [grown(inner) for inner in value] if isinstance(value, list) else value

    frame = msgspec.msgpack.encode(grown(msgspec.msgpack.decode(encode(message))))
    assert b"new-field" in frame
    assert decode(frame) == message


@every
def test_a_truncated_message_is_an_error_wherever_it_ends(decode: Decode, message: Message) -> None:
    frame = encode(message)
    for end in range(len(frame)):
        with pytest.raises(MessageError):
            decode(frame[:end])
    with pytest.raises(MessageError):
        decode(frame + b"\x00")


@every
def test_a_message_for_another_way_is_an_error(decode: Decode, message: Message) -> None:
    for other in DECODERS:
        if other is not decode:
            with pytest.raises(MessageError):
                other(encode(message))


@every
def test_a_missing_field_is_an_error(decode: Decode, message: Message) -> None:
    fields = msgspec.msgpack.decode(encode(message))
    for name in fields:
        if (name, type(message)) != ("change", TableUpdate):
            with pytest.raises(MessageError):
                decode(msgspec.msgpack.encode({key: value for key, value in fields.items() if key != name}))


@every
def test_a_field_of_a_wrong_type_is_an_error(decode: Decode, message: Message) -> None:
    fields = msgspec.msgpack.decode(encode(message))
    for name in fields:
        with pytest.raises(MessageError):
            decode(msgspec.msgpack.encode({**fields, name: [[None]]}))


@pytest.mark.parametrize(
    ("decode", "fields"),
    [
        (decode_downward, {"type": "nonesuch"}),
        (decode_downward, {"type": 5}),
        (decode_downward, {"stamp": [1, 1, 1]}),
        (decode_downward, {"type": "heartbeat", "stamp": [1, 1]}),
        (decode_downward, {"type": "heartbeat", "stamp": [1, 1, 1.5]}),
        (decode_downward, {"type": "heartbeat", "stamp": [1, 1, "1"]}),
        (decode_downward, {"type": "heartbeat", "stamp": {"epoch": 1, "version": 1, "hash": 1}}),
        (decode_downward, {"type": "load", "stamp": [1, 1, 1], "seq": 1, "loads": {"w": [1, 2, 3]}}),
        (decode_downward, {"type": "load", "stamp": [1, 1, 1], "seq": 1, "loads": {1: [1, 2, 3, 4]}}),
        (decode_upward, {"type": "evidence", "plane": {}, "worker": "w", "worker_epoch": 1, "kind": "x"}),
    ],
)
def test_what_does_not_fit_is_an_error(decode: Decode, fields: dict[str, object]) -> None:
    with pytest.raises(MessageError):
        decode(msgspec.msgpack.encode(fields))


def test_a_state_or_kind_that_is_not_known_is_an_error() -> None:
    with pytest.raises(MessageError):
        decode_upward(encode(Evidence(PLANE, "w", 1, "made-up", 1, False, 0)))  # type: ignore[arg-type]
    odd = Worker(id="a", url="a", state="made-up")  # type: ignore[arg-type]
    with pytest.raises(MessageError):
        decode_downward(encode(TableUpdate(STAMP, TableChange(upsert_workers=(odd,)))))


# --- garbage ---------------------------------------------------------------------------------------------


def passes_or_is_an_error(decode: Decode, frame: bytes) -> None:
    """Nothing but MessageError comes out: the receivers catch nothing else."""
    try:
        decode(frame)
    except MessageError:
        return


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("frame", [b"", b"\x00", b"\xc1", b"\xff", b"{}", b'{"type":"heartbeat"}', b"\x80", b"\x90"])
def test_short_garbage_is_an_error(decode: Decode, frame: bytes) -> None:
    with pytest.raises(MessageError):
        decode(frame)


@given(st.sampled_from(DECODERS), st.binary(max_size=200))
@example(decode_downward, b"\x81\xa4type\xa2\xff\xff")
def test_garbage_is_never_another_error(decode: Decode, frame: bytes) -> None:
    passes_or_is_an_error(decode, frame)


@given(st.sampled_from(EVERY), st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_byte_is_never_another_error(whole: tuple[Decode, Message], at: int, byte: int) -> None:
    decode, message = whole
    frame = bytearray(encode(message))
    frame[at % len(frame)] = byte
    passes_or_is_an_error(decode, bytes(frame))


@pytest.mark.parametrize("decode", [decode_downward, decode_upward, decode_plane_socket])
def test_a_tag_that_is_not_utf_8_is_an_error(decode: Decode) -> None:
    with pytest.raises(MessageError):
        decode(b"\x81\xa4type\xa2\xff\xff")


def test_a_text_that_is_not_utf_8_is_an_error() -> None:
    frame = encode(Nack(PLANE, STAMP, "because")).replace(b"\xa7because", b"\xa7\xff\xfe\xfd\xfc\xfb\xfa\xf9")
    with pytest.raises(MessageError):
        decode_upward(frame)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_deep_nesting_is_an_error_or_skipped(depth: int) -> None:
    fields = msgspec.msgpack.encode({"type": "heartbeat", "stamp": [1, 1, 1], "x": 0})
    passes_or_is_an_error(decode_downward, fields[:-1] + b"\x91" * depth + b"\x00")
