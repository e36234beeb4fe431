from __future__ import annotations

import pytest

from dataplane.kv import sessions
from dataplane.kv.sessions import Sessions


def test_a_session_is_remembered_for_its_time() -> None:
    kept = Sessions()
    kept.use(10.0)
    kept.note(b"s", "w1", 0.0)
    assert (kept.last(b"s", 9.9), kept.last(b"s", 10.0), kept.last(b"other", 0.0)) == ("w1", None, None)
    kept.note(b"s", "w2", 20.0)
    assert kept.last(b"s", 29.0) == "w2"
    kept.forget(b"s")
    kept.forget(b"s")
    assert kept.last(b"s", 21.0) is None


def test_what_is_over_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    kept = Sessions()
    kept.use(10.0)
    for number in range(5):
        kept.note(b"%d" % number, "w", float(number))
    assert len(kept._last) == 3
    kept.note(b"new", "w", 50.0)
    assert list(kept._last) == [b"new"]
    kept.use(0.0)
    assert not kept._last
