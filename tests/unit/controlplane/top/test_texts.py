import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from controlplane.top.texts import amount, bar, clean, fitted, short_time, whole


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (0.04, "0.0"), (3.14, "3.1"), (99.96, "100"), (999.94, "1000"), (1234, "1.2k"),
     (99_950, "100k"), (4.5e7, "45.0M"), (2e9, "2.0G")],
)  # fmt: skip
def test_amounts(value: float | None, text: str) -> None:
    assert amount(value) == text


@given(st.floats(0, 9.9e11))
def test_amounts_are_short(value: float) -> None:
    assert len(amount(value)) <= 5
    assert len(whole(value)) <= 5


@given(st.floats(0, 1e6))
def test_times_are_short(seconds: float) -> None:
    assert len(short_time(seconds)) <= 6


def test_times() -> None:
    assert [short_time(value) for value in (None, 0.0004, 0.0812, 0.9996, 12.34, 100, 720)] == [
        "-", "0ms", "81ms", "1.0s", "12.3s", "100s", "12m",
    ]  # fmt: skip


@given(st.floats(-1, 3), st.integers(0, 20))
def test_a_bar_has_its_width(part: float, width: int) -> None:
    assert len(bar(part, width, is_ascii=True)) == max(width, 0 if part <= 0 else 1)


def test_bars() -> None:
    assert [bar(part, 4, is_ascii=True) for part in (0, 0.01, 0.5, 1, 7)] == ["....", "#...", "##..", "####", "####"]


@given(st.text(max_size=30), st.integers(0, 20), st.booleans())
def test_a_fitted_text_has_its_width(text: str, width: int, right: bool) -> None:
    assert cell_len(fitted(clean(text), width, right=right)) == width
