import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.worker_rank import place, rank_ids, resized, split_rank

A, B = "http://a:1", "http://b:1"


def test_ids_are_the_url_with_its_rank() -> None:
    assert rank_ids(A, 1) == (A,)
    assert rank_ids(A, 2) == (f"{A}@0", f"{A}@1")


@given(st.integers(2, 1024))
def test_an_id_is_read_back(size: int) -> None:
    assert [split_rank(key) for key in rank_ids(A, size)] == [(A, rank) for rank in range(size)]
    assert split_rank(A) == (A, None)


@pytest.mark.parametrize("text", [f"{A}@", f"{A}@01", f"{A}@x", f"{A}@-1", f"{A}@99999"])
def test_what_is_no_rank_belongs_to_the_name(text: str) -> None:
    assert split_rank(text) == (text, None)


def test_a_place_is_the_server_and_the_rank() -> None:
    assert place("http://A:80@1") == place("http://a@1") != place("http://a@2")


@pytest.mark.parametrize(
    ("old", "new", "before", "after"),
    [
        (1, 2, (A, B), (*rank_ids(A, 2), *rank_ids(B, 2))),
        (2, 1, rank_ids(A, 2), (A,)),
        (2, 1, (f"{A}@1",), ()),
        (2, 3, rank_ids(A, 2), rank_ids(A, 3)),
        (2, 3, (f"{A}@1", *rank_ids(B, 2)), (f"{A}@1", *rank_ids(B, 3))),
        (3, 2, (f"{A}@1", f"{A}@2"), (f"{A}@1",)),
    ],
)
def test_another_number_of_ranks(old: int, new: int, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    assert resized(before, old, new) == after
