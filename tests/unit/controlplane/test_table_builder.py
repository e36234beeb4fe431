import msgspec
import pytest

from controlplane.model_list import facts
from controlplane.registry import Member
from controlplane.table_builder import build, resolved
from shared.table import ModelCard, Role, Settings, Worker, WorkerState
from shared.transfer import Transfer


def member(worker_id: str, cards: dict[str, bytes], state: WorkerState = "ready") -> Member:
    worker = Worker(id=worker_id, url=f"http://{worker_id}", state=state, models=tuple(cards))
    return Member(worker, cards, None, {model: facts(card) for model, card in cards.items()})


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


def card_of(model: str, **told: object) -> bytes:
    return msgspec.json.encode({"id": model, "created": 1, "root": "/m", "parent": None, **told})


def test_a_card_has_what_workers_agree_in() -> None:
    same = member("c", {"x": card_of("x", created=9, max_model_len=4096)})
    a, b = member("a", {"x": card_of("x", max_model_len=4096)}), member("b", {"x": card_of("x", max_model_len=1024)})
    assert build([a, same])[1] == (ModelCard(id="x", card=a.cards["x"]),)
    for members in ([a, b], [b, a, same]):
        [model] = build(members)[1]
        told = msgspec.json.decode(model.card)
        assert (told["max_model_len"], told["root"]) == (1024, "/m")
    [model] = build([a, member("d", {"x": card_of("x", root="/n", max_model_len=8192)})])[1]
    assert msgspec.json.decode(model.card) | {"created": 1} == msgspec.json.decode(a.cards["x"]) | {"root": None}
    # One that tells no length says nothing against those that do.
    [model] = build([member("e", {"x": card_of("x")}), b])[1]
    assert msgspec.json.decode(model.card)["max_model_len"] == 1024


def test_a_card_that_is_no_json_stays() -> None:
    assert build([member("a", {"x": b"no"}), member("b", {"x": card_of("x", max_model_len=4)})])[1][0].card == b"no"


def announcing(number: int, role: Role, connector: str) -> Member:
    transfer = Transfer(connector=connector)
    return Member(Worker(id=str(number), url=f"http://{number}", role=role, transfer=transfer), {}, None, {})


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
