"""The load formula of `dataplane/load.py`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.load import FORMULAS, Figures, figures_of, vllm
from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad

counts = st.integers(0, 10_000)
figures = st.floats(0, 10_000)
engines = st.builds(WorkerLoad, figures, figures, st.floats(0, 1), st.just(0.0))
ages = st.floats(0, 10)


def engine(*, running: float = 0, waiting: float = 0, kv_usage: float = 0) -> WorkerLoad:
    return WorkerLoad(running, waiting, kv_usage, 0.0)


def load_of(own: int, others: int | None, planes: int, figures: WorkerLoad | None, age: float) -> float:
    return vllm(figures_of(own, others, planes, figures, age))


@pytest.mark.parametrize(
    ("own", "others", "figures", "expected"),
    [
        (0, 0, engine(), 0.0),
        (2, 3, engine(), 5.0),
        (2, 3, engine(running=4, waiting=0), 5.0),
        (2, 3, engine(running=4, waiting=5), 9.0),
        # A full cache counts only for requests that wait for it: six each, times what is above one half.
        (2, 3, engine(running=4, kv_usage=1.0), 5.0),
        (2, 3, engine(running=4, waiting=5, kv_usage=0.5), 9.0),
        (2, 3, engine(running=4, waiting=5, kv_usage=0.75), 9.0 + 6 * 5 * 0.25),
        (0, 0, engine(waiting=1, kv_usage=1.0), 1.0 + 3.0),
        (0, 0, engine(waiting=1, kv_usage=0.2), 1.0),
    ],
)
def test_the_formula(own: int, others: int, figures: WorkerLoad, expected: float) -> None:
    assert load_of(own, others, 4, figures, 0.0) == pytest.approx(expected)


def test_without_news_of_the_others_every_plane_is_taken_to_carry_as_much() -> None:
    assert load_of(3, None, 4, None, 0.0) == 12
    assert load_of(3, None, 4, engine(running=20), 0.0) == 20
    assert load_of(3, 0, 4, None, 0.0) == 3


def test_an_old_figure_is_no_figure() -> None:
    busy = engine(running=50, waiting=50, kv_usage=1.0)
    assert load_of(1, 1, 1, busy, LOAD_UNKNOWN_AFTER) > 100
    assert load_of(1, 1, 1, busy, LOAD_UNKNOWN_AFTER + 0.001) == 2
    assert load_of(1, 1, 1, None, 0.0) == 2


@given(counts, counts, st.none() | counts, st.integers(1, 64), st.none() | engines, ages)
def test_more_of_our_own_requests_never_look_like_less(
    own: int, more: int, others: int | None, planes: int, figures: WorkerLoad | None, age: float
) -> None:
    assert load_of(own + more, others, planes, figures, age) >= load_of(own, others, planes, figures, age)


@given(counts, counts, st.integers(1, 64), engines, ages)
def test_the_load_is_at_least_what_is_known_to_be_there(
    own: int, others: int, planes: int, figures: WorkerLoad, age: float
) -> None:
    load = load_of(own, others, planes, figures, age)
    assert isinstance(load, float)
    assert load >= own + others
    if age <= LOAD_UNKNOWN_AFTER:
        assert load >= figures.running + figures.waiting
        assert load <= max(own + others, figures.running + figures.waiting) + 3 * figures.waiting + 1e-6


@pytest.mark.parametrize(
    ("name", "figures", "expected"),
    [
        ("mvllm", Figures(0, 2.0, 3.0, 0.9, True, 3.0), 3.0),
        ("mvllm", Figures(9, 2.0, 3.0, 0.9, True, 3.0), (6 * 3 + 3) / 3),
        ("mvllm", Figures(4, 0.0, 0.0, 0.0, False, 2.0), 6.0),
        ("mvllm-half", Figures(0, 2.0, 4.0, 0.9, True, 8.0), 0.5),
        ("mvllm-half", Figures(10, 2.0, 4.0, 0.9, True, 8.0), 1.0),
    ],
)
def test_the_formulas_of_mvllm_count_what_was_sent_since_as_running(
    name: str, figures: Figures, expected: float
) -> None:
    assert FORMULAS[name](figures) == pytest.approx(expected)
