from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.timeouts import Phase, Place, Progress, limit_of
from shared.table import Settings

SETTINGS = Settings(client_body_timeout=10, response_header_timeout=20, stream_idle_timeout=30, client_write_timeout=40)
LIMITS = {Phase.RECEIVING: 10, Phase.WAITING: 20, Phase.ANSWERING: 30, Phase.BLOCKED: 40}


@pytest.mark.parametrize("phase", LIMITS)
def test_a_place_that_does_not_change_is_overdue_after_its_phases_limit(phase: Phase) -> None:
    progress = Progress(0.0)
    assert progress.overdue(Place(phase, 5), 100.0, SETTINGS) is None
    assert progress.overdue(Place(phase, 5), 100.0 + LIMITS[phase], SETTINGS) is None
    assert progress.overdue(Place(phase, 5), 100.1 + LIMITS[phase], SETTINGS) is phase


def test_connecting_has_no_limit_here_and_zero_is_none() -> None:
    progress = Progress(0.0)
    for place in (Place(Phase.CONNECTING, 1), Place(Phase.WAITING, 0)):
        assert progress.overdue(place, 0.0, Settings()) is None
        assert progress.overdue(place, 1e9, Settings()) is None
    assert limit_of(Phase.WAITING, Settings()) == 0


@given(st.lists(st.tuples(st.sampled_from(list(LIMITS)), st.integers(0, 3), st.floats(0.1, 9)), min_size=1))
def test_what_moves_on_within_its_limit_is_never_overdue(history: list[tuple[Phase, int, float]]) -> None:
    progress, now, mark = Progress(0.0), 0.0, 0
    for phase, step, pause in history:
        now += pause
        mark += step + 1
        assert progress.overdue(Place(phase, mark), now, SETTINGS) is None
