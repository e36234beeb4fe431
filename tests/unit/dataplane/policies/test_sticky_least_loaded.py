"""sticky_least_loaded: sessions stay, also on the other planes, until they are over."""

from __future__ import annotations

from collections import Counter

import pytest

from dataplane.load import Figures
from dataplane.policies import Why, sticky_least_loaded
from dataplane.policies.conformance import SampleCandidate, SampleRequest
from dataplane.policies.sticky_least_loaded import StickyLeastLoaded
from shared.messages import Learnt
from tests.unit.dataplane.policies.tables import MODEL, candidates, names, plane, table

WORKERS = names(4)


def policy(slot: int = 0) -> StickyLeastLoaded:
    found = StickyLeastLoaded(plane(slot))
    found.follow(table(*WORKERS, session_ttl=100.0))
    return found


def asks(session: str, at: float = 0.0) -> SampleRequest:
    return SampleRequest(MODEL, fields={b"x-session-id": session.encode()}, arrived=at)


def pick(on: StickyLeastLoaded, session: str, *, at: float = 0.0, among: tuple[str, ...] = WORKERS) -> str:
    return on.pick(candidates(*among), asks(session, at)).id


def exchange(*planes: StickyLeastLoaded) -> None:
    told = [one.learnt() for one in planes]
    for number, learnt in enumerate(told):
        for other in planes:
            if other is not planes[number]:
                other.hear(learnt, 0.0)


def test_new_sessions_go_to_whoever_has_the_fewest_and_stay() -> None:
    found = policy()
    first = {str(number): pick(found, str(number)) for number in range(40)}
    assert set(Counter(first.values()).values()) == {10}
    assert {session: pick(found, session) for session in first} == first
    assert found.outcomes == {"new_session": 40, "session": 40}


def test_a_worker_has_the_sessions_of_its_weight() -> None:
    found = policy()
    unlike = [SampleCandidate(worker, weight=3.0 if worker == "w1" else 1.0) for worker in WORKERS]
    counts = Counter(found.pick(unlike, asks(str(number))).id for number in range(60))
    assert counts == {"w0": 10, "w1": 30, "w2": 10, "w3": 10}


def test_a_session_that_is_idle_for_too_long_is_over() -> None:
    found = policy()
    pick(found, "a")
    pick(found, "b", at=60.0)
    pick(found, "a", at=99.0)
    pick(found, "c", at=161.0)
    assert found.outcomes["new_session"] == 3
    assert found.outcomes["session"] == 1
    assert len(found._sessions) == 2
    assert sum(found._count.values()) == 2


def test_a_finished_session_is_forgotten_on_every_plane() -> None:
    one, other = policy(0), policy(1)
    pick(one, "a")
    exchange(one, other)
    assert len(other._sessions) == 1
    other.finish_session("a")
    exchange(one, other)
    assert not one._sessions
    assert not other._sessions
    assert not one._count
    other.finish_session("never heard of")


def test_requests_without_a_session_are_no_session() -> None:
    found = policy()
    for _ in range(100):
        found.pick(candidates(*WORKERS), SampleRequest(MODEL))
    assert not found._sessions
    assert found.outcomes == {"no_session": 100}


def test_requests_without_a_session_go_by_load_and_not_by_sessions() -> None:
    found = policy()
    one_that_has_it = pick(found, "the only one")
    idle = Counter(found.pick(candidates(*WORKERS), SampleRequest(MODEL)).id for _ in range(40))
    assert idle == dict.fromkeys(WORKERS, 10)
    busy = Figures(5, 5.0, 0.0, 0.0, True, 1.0)
    unlike = [
        SampleCandidate(worker) if worker == one_that_has_it else SampleCandidate(worker, busy=busy)
        for worker in WORKERS
    ]
    why = Why()
    assert found.pick(unlike, SampleRequest(MODEL, arrived=1.0), why).id == one_that_has_it
    assert why.choices == [(one_that_has_it, 0.0, "the least loaded")]


def test_the_sessions_of_a_worker_that_is_out_move_and_those_of_a_restarted_one_end() -> None:
    found = policy()
    homes = {str(number): pick(found, str(number)) for number in range(40)}
    rest = tuple(worker for worker in WORKERS if worker != "w1")
    for session, home in homes.items():
        assert (pick(found, session, among=rest) == home) == (home != "w1")
    assert found.outcomes["moved_session"] == 10
    found.follow(table(*WORKERS, epochs={"w0": 2}, version=2))
    assert all(worker != "w0" for worker, _ in found._sessions.values())
    assert sum(found._count.values()) == len(found._sessions)


def test_planes_share_sessions() -> None:
    one, other = policy(0), policy(1)
    chosen = {}
    for number in range(40):
        on = (one, other)[number % 2]
        chosen[str(number)] = pick(on, str(number))
        exchange(one, other)
    assert set(Counter(chosen.values()).values()) == {10}
    for session, worker in chosen.items():
        assert pick(one, session) == pick(other, session) == worker


def test_a_session_that_was_heard_of_is_new_from_then_on() -> None:
    one, other = policy(0), policy(1)
    home = pick(one, "a", at=9_000_000.0)
    for worker in WORKERS:
        pick(one, f"more {worker}", at=9_000_000.0)
    other.hear(one.learnt(), 9_000_000.0)
    assert pick(other, "a", at=9_000_050.0) == home
    assert other.outcomes == {"session": 1}


def test_planes_that_gave_one_session_away_at_once_come_to_agree() -> None:
    one, other = policy(0), policy(1)
    for number in range(30):
        # They know of different sessions, so they choose differently.
        pick(one, f"only one knows {number}")
        pick(one, f"{number}")
        pick(other, f"{number}")
    exchange(one, other)
    agreed = [pick(one, str(number)) for number in range(30)]
    assert [pick(other, str(number)) for number in range(30)] == agreed
    assert sum(one._count.values()) == len(one._sessions)


def test_a_session_that_moved_moves_on_the_other_planes_too() -> None:
    one, other = policy(0), policy(1)
    home = pick(one, "a")
    exchange(one, other)
    exchange(one, other)
    rest = tuple(worker for worker in WORKERS if worker != home)
    moved = pick(one, "a", among=rest)
    exchange(one, other)
    assert pick(other, "a") == moved


def test_news_of_workers_that_are_unknown_or_lived_before_is_passed_over() -> None:
    found = policy()
    found.hear({"nobody": Learnt(1, b"12345678"), "w0": Learnt(7, b"12345678"), "w1": Learnt(1, b"123")}, 0.0)
    assert not found._sessions


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sticky_least_loaded, "MAX_SESSIONS", 50)
    monkeypatch.setattr(sticky_least_loaded, "MAX_LEARNT", 20)
    found = policy()
    for number in range(200):
        pick(found, str(number))
    assert len(found._sessions) == 50
    assert sum(found._count.values()) == 50
    assert sum(len(told.hashes) for told in found.learnt().values()) == 20 * 8


def test_the_reasons_tell_where_the_session_was_named_but_not_its_name() -> None:
    found = policy()
    for reason in ("fewest sessions", "the session's worker"):
        why = Why()
        chosen = found.pick(candidates(*WORKERS), asks("secret"), why)
        assert [(choice.worker, choice.reason) for choice in why.choices] == [(chosen.id, reason)]
        assert why.note == "session by x-session-id"
