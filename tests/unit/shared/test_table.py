"""The table's algebra: differences, their application, and a hash that is carried forward."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages import TableUpdate, decode_downward, decode_table, encode
from shared.table import (
    ModelCard,
    Role,
    RoutingTable,
    Settings,
    Stamp,
    TableChange,
    Worker,
    WorkerState,
    apply,
    content_hash,
    diff,
    make_table,
    record_hash,
)

ids = st.sampled_from(["http://a:1", "http://b:1", "http://c:1", "m", "n"])
names = st.sampled_from(["m", "n", "o"])
workers = st.builds(
    Worker,
    id=ids,
    url=st.sampled_from(["http://a:1", "https://b"]),
    epoch=st.integers(1, 3),
    role=st.sampled_from(get_args(Role)),
    state=st.sampled_from(get_args(WorkerState)),
    reason=st.sampled_from(["", "connect failed"]),
    since=st.integers(0, 5) | st.floats(0, 5),
    models=st.none() | st.lists(names, max_size=2).map(tuple),
)
models = st.builds(ModelCard, id=names, card=st.binary(max_size=5))
all_settings = st.builds(
    Settings,
    policy=st.sampled_from(["round_robin", "random"]),
    data_planes=st.integers(1, 3),
    connect_timeout=st.integers(1, 3) | st.floats(1, 3),
)


@st.composite
def tables(draw: st.DrawFn) -> RoutingTable:
    return make_table(
        epoch=draw(st.integers(0, 3)),
        version=draw(st.integers(0, 3)),
        workers=draw(st.lists(workers, max_size=4)),
        models=draw(st.lists(models, max_size=3)),
        settings=draw(all_settings),
    )


def content(table: RoutingTable) -> tuple[dict[str, Worker], dict[str, ModelCard], Settings]:
    return table.workers, table.models, table.settings


def assert_hash_is_the_contents(table: RoutingTable) -> None:
    assert table.stamp.hash == content_hash(table.workers, table.models, table.settings)


# --- differences -----------------------------------------------------------------------------------------


@given(tables(), tables())
def test_a_difference_turns_one_table_into_the_other(old: RoutingTable, new: RoutingTable) -> None:
    change = diff(old, new)
    result = apply(old, change)
    assert content(result) == content(new)
    assert result.stamp.hash == new.stamp.hash
    assert result.stamp.order == (old.stamp.epoch, old.stamp.version + 1)
    assert bool(change) == (content(old) != content(new))
    assert_hash_is_the_contents(result)


@given(tables(), st.lists(tables(), max_size=5))
def test_the_hash_is_carried_over_any_number_of_changes(table: RoutingTable, others: list[RoutingTable]) -> None:
    for other in others:
        before = content(table)
        derived = apply(table, diff(table, other))
        # A table that somebody pinned stays as it was.
        assert content(table) == before
        table = derived
        assert_hash_is_the_contents(table)


@given(tables(), tables())
def test_a_difference_and_its_result_are_the_same_on_the_other_side_of_the_wire(
    old: RoutingTable, new: RoutingTable
) -> None:
    update = decode_downward(encode(TableUpdate(new.stamp, diff(old, new))))
    assert isinstance(update, TableUpdate)
    here = decode_table(encode(old))
    assert here == old
    result = apply(here, update.change)
    assert content(result) == content(new)
    assert result.stamp.hash == new.stamp.hash == content_hash(*content(result))


@given(tables())
def test_a_table_does_not_differ_from_itself(table: RoutingTable) -> None:
    assert not diff(table, table)
    assert not diff(table, decode_table(encode(table)))


@given(tables(), tables())
def test_a_difference_names_only_what_changed(old: RoutingTable, new: RoutingTable) -> None:
    change = diff(old, new)
    assert all(old.workers.get(worker.id) != worker for worker in change.upsert_workers)
    assert all(old.models.get(model.id) != model for model in change.upsert_models)
    assert set(change.remove_workers) == old.workers.keys() - new.workers.keys()
    assert set(change.remove_models) == old.models.keys() - new.models.keys()


@pytest.mark.parametrize("change", [TableChange(remove_workers=("x",)), TableChange(remove_models=("x",))])
def test_a_change_made_for_another_table_is_an_error(change: TableChange) -> None:
    table = make_table(epoch=1, version=1, workers=[Worker(id="a", url="u")], models=[ModelCard(id="m", card=b"")])
    before = content(decode_table(encode(table)))
    with pytest.raises(KeyError):
        apply(table, change)
    assert content(table) == before


@given(tables(), tables(), tables())
def test_a_change_for_another_table_is_an_error_or_shows_in_the_hash(
    old: RoutingTable, new: RoutingTable, other: RoutingTable
) -> None:
    change = diff(old, new)
    try:
        result = apply(other, change)
    except KeyError:
        assert not set(change.remove_workers) <= other.workers.keys() or not (
            set(change.remove_models) <= other.models.keys()
        )
    else:
        assert (result.stamp.hash == new.stamp.hash) == (content(result) == content(new))
        assert_hash_is_the_contents(result)


# --- hashes ----------------------------------------------------------------------------------------------


@given(tables(), tables())
def test_hashes_are_equal_exactly_when_contents_are(one: RoutingTable, other: RoutingTable) -> None:
    assert (one.stamp.hash == other.stamp.hash) == (content(one) == content(other))


@given(st.lists(workers, max_size=4, unique_by=lambda worker: worker.id), st.randoms())
def test_the_order_does_not_count(some: list[Worker], random: object) -> None:
    one = make_table(epoch=1, version=1, workers=some)
    other = make_table(epoch=1, version=1, workers=reversed(some))
    assert one.stamp == other.stamp


def test_the_hash_fits_64_bits_however_many_records_there_are() -> None:
    many = [Worker(id=str(number), url="u") for number in range(300)]
    table = make_table(epoch=1, version=1, workers=many)
    assert 0 <= table.stamp.hash < 2**64
    for worker in many:
        table = apply(table, TableChange(remove_workers=(worker.id,)))
        assert 0 <= table.stamp.hash < 2**64
    assert table.stamp.hash == make_table(epoch=1, version=1).stamp.hash


def test_records_of_different_kinds_with_the_same_bytes_hash_apart() -> None:
    class Worker2(msgspec.Struct, frozen=True, kw_only=True):
        id: str
        card: bytes

    card = ModelCard(id="a", card=b"x")
    assert msgspec.msgpack.encode(Worker2(id="a", card=b"x")) == msgspec.msgpack.encode(card)
    assert record_hash(Worker2(id="a", card=b"x")) != record_hash(card)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("with_ints", "with_floats"),
    [
        (Worker(id="a", url="u", since=5), Worker(id="a", url="u", since=5.0)),
        (Settings(connect_timeout=3, request_timeout=60), Settings(connect_timeout=3.0, request_timeout=60.0)),
    ],
)
def test_ints_given_for_floats_hash_alike_on_both_sides(
    with_ints: Worker | Settings, with_floats: Worker | Settings
) -> None:
    assert record_hash(with_ints) == record_hash(with_floats)
    back = msgspec.msgpack.decode(msgspec.msgpack.encode(with_ints), type=type(with_ints))
    assert record_hash(back) == record_hash(with_ints)


def test_ints_on_the_wire_hash_as_floats() -> None:
    frame = msgspec.msgpack.encode({"id": "a", "url": "u", "since": 5})
    assert record_hash(msgspec.msgpack.decode(frame, type=Worker)) == record_hash(Worker(id="a", url="u", since=5.0))


def test_ints_put_in_by_replace_hash_as_floats() -> None:
    replaced = msgspec.structs.replace(Settings(), request_timeout=60)
    assert record_hash(replaced) == record_hash(Settings(request_timeout=60.0))


# --- small things ----------------------------------------------------------------------------------------


def test_stamps_are_ordered_by_life_and_then_by_version() -> None:
    stamps = [Stamp(2, 1, 9), Stamp(1, 9, 1), Stamp(1, 2, 5)]
    assert sorted(stamps, key=lambda stamp: stamp.order) == stamps[::-1]


@pytest.mark.parametrize(
    "change",
    [
        TableChange(upsert_workers=(Worker(id="a", url="u"),)),
        TableChange(remove_workers=("a",)),
        TableChange(upsert_models=(ModelCard(id="a", card=b""),)),
        TableChange(remove_models=("a",)),
        TableChange(settings=Settings()),
    ],
)
def test_a_change_with_anything_in_it_is_true(change: TableChange) -> None:
    assert change
    assert not TableChange()
