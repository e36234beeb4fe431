from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.kv_events.pace import Pace


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    pace = Pace(0.0, 100.0)
    assert [pace.wait_after(0, 0.0) for _ in range(10)] == [0.0] * 10
    assert pace.wait_after(0, 0.0) == pytest.approx(0.01)
    assert pace.wait_after(0, 0.0) == pytest.approx(0.02)
    assert pace.wait_after(0, 1.0) == 0.0


def test_large_messages_count_for_more() -> None:
    pace = Pace(0.0, 100.0)
    assert pace.wait_after(2048 * 29, 0.0) == pytest.approx(0.2)


@given(st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 0.5)), min_size=1, max_size=50))
def test_readers_that_wait_never_do_more_than_the_rate(messages: list[tuple[int, float]]) -> None:
    pace, now, work = Pace(0.0, 1000.0), 0.0, 0.0
    for size, idle in messages:
        wait = pace.wait_after(size, now)
        work += 1 + size / 2048
        now += wait + idle
        assert work <= 100.0 + 1000.0 * now + 1e-6
