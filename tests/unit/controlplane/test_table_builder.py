import msgspec
import pytest

from controlplane.registry import Member
from controlplane.table_builder import build, resolved
from shared.table import ModelCard, Role, Settings, Worker, WorkerState
from shared.transfer import Transfer


def member(worker_id: str, cards: dict[str, bytes], state: WorkerState = "ready") -> Member:
    worker = Worker(id=worker_id, url=f"http://{worker_id}", state=state, models=tuple(cards))
    return Member(worker, cards, None)


def test_models_are_merged_and_the_first_worker_gives_the_card() -> None:
    workers, models = build([member("b", {"y": b"b-y", "x": b"b-x"}), member("a", {"x": b"a-x", "z": b"a-z"})])
    assert [worker.id for worker in workers] == ["b", "a"]
    assert models == (ModelCard(id="y", card=b"b-y"), ModelCard(id="x", card=b"b-x"), ModelCard(id="z", card=b"a-z"))


def test_an_unhealthy_worker_still_gives_its_cards_and_one_that_is_gone_does_not() -> None:
    members = [member("a", {"x": b"a-x"}, "unhealthy"), member("b", {"x": b"b-x"}), member("c", {"z": b""}, "gone")]
    workers, models = build(members)
    assert [worker.id for worker in workers] == ["a", "b"]
    assert models == (ModelCard(id="x", card=b"a-x"),)


def test_the_same_view_gives_the_same_bytes() -> None:
    view = [member("a", {"x": b"1", "y": b"2"}), member("b", {"y": b"3"})]
    assert msgspec.msgpack.encode(build(view)) == msgspec.msgpack.encode(build(tuple(view)))


def announcing(number: int, role: Role, connector: str) -> Member:
    transfer = Transfer(connector=connector)
    return Member(Worker(id=str(number), url=f"http://{number}", role=role, transfer=transfer), {}, None)


@pytest.mark.parametrize(
    ("named", "announced", "meant"),
    [
        ("auto", [], "nixl"),
        ("auto", ["nccl"], "nccl"),
        ("auto", ["moriio", "nccl", "nccl"], "nccl"),
        ("auto", ["nccl", "moriio"], "moriio"),
        ("auto", ["", "nobodys"], "nixl"),
        ("nixl", ["nccl"], "nixl"),
        ("my.module:Class", ["nccl"], "my.module:Class"),
    ],
)
def test_planes_go_by_the_connector_that_is_named_or_else_announced(
    named: str, announced: list[str], meant: str
) -> None:
    members = [announcing(number, "decode", connector) for number, connector in enumerate(announced)]
    # What does whole requests moves nothing.
    members += [announcing(number, "regular", "lmcache") for number in range(10, 20)]
    assert resolved(Settings(kv_connector=named, data_planes=3), members) == Settings(kv_connector=meant, data_planes=3)
