import msgspec
import pytest

from controlplane.model_list import MAX_ID_LENGTH, ModelListError, merge_known, read_models
from tests.unit.controlplane.fake_worker import captured_body


def test_the_captured_answer_keeps_its_bytes() -> None:
    body = captured_body("get_models.http")
    models = read_models(body)
    assert list(models) == ["tiny"]
    assert models["tiny"] in body
    assert msgspec.json.decode(models["tiny"])["max_model_len"] == 1024


def test_order_is_the_workers_own() -> None:
    assert list(read_models(b'{"data":[{"id":"b"},{"id":"a"}]}')) == ["b", "a"]


UNREADABLE = [
    b'{"id":"m","x":"\xff"}',
    b'{"id":"m","x":1e999}',
    b'{"id":"m","x":' + b"9" * 5000 + b"}",
]
"""Cards whose name can be read, and whose rest can not."""


@pytest.mark.parametrize("card", UNREADABLE)
def test_a_card_that_can_not_be_read_whole_is_refused(card: bytes) -> None:
    with pytest.raises(ModelListError):
        read_models(b'{"data":[' + card + b"]}")


@pytest.mark.parametrize("card", UNREADABLE)
def test_a_known_card_that_can_not_be_read_gives_way(card: bytes) -> None:
    told = {"m": b'{"id":"m"}'}
    assert merge_known({"m": card}, told) == told


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"data":[{"name":"x"}]}', b'{"data":[{"id":1}]}', b"\xff"])
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(ModelListError):
        read_models(body)


def test_ids_that_no_client_would_send_are_left_out() -> None:
    long = "m" * (MAX_ID_LENGTH + 1)
    assert read_models(msgspec.json.encode({"data": [{"id": long}, {"id": ""}, {"id": "m"}]})).keys() == {"m"}


def test_made_up_fields_are_no_news() -> None:
    known = {"m": b'{"id":"m","created":1,"permission":[{"id":"p-1"}],"max_model_len":8}'}
    same = {"m": b'{"id":"m","created":2,"permission":[{"id":"p-2"}],"max_model_len":8}'}
    other = {"m": b'{"id":"m","created":2,"permission":[],"max_model_len":9}'}
    assert merge_known(known, same) == known
    assert merge_known(known, other) == other
    assert merge_known(known, {}) == {}
