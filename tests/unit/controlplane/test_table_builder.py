import msgspec

from controlplane.registry import Member
from controlplane.table_builder import build
from shared.table import ModelCard, Worker, WorkerState


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
