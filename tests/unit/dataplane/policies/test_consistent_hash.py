"""consistent_hash: the same worker for the same session on every plane, but none that is overloaded."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dataplane.policies import Why
from dataplane.policies.conformance import SampleRequest
from dataplane.policies.consistent_hash import NEVER_OVER, ConsistentHash
from tests.unit.dataplane.policies.tables import MODEL, candidates, names, plane, table

WORKERS = names(8)
sessions = st.integers(0, 10_000)


def policy(slot: int = 0, *workers: str) -> ConsistentHash:
    found = ConsistentHash(plane(slot))
    found.follow(table(*(workers or WORKERS)))
    return found


def of_session(number: int, *, arrived: float = 0.0) -> SampleRequest:
    return SampleRequest(MODEL, fields={b"x-session-id": b"s%d" % number}, arrived=arrived)


def of_prompt(text: str) -> SampleRequest:
    return SampleRequest(MODEL, body=json.dumps({"messages": [{"role": "user", "content": text}]}).encode())


@given(st.lists(sessions, min_size=1, max_size=20), st.randoms())
def test_planes_agree_whatever_they_did_before(asked: list[int], rng: random.Random) -> None:
    one, other = policy(0), policy(3)
    for session in rng.sample(asked, len(asked)):
        other.pick(candidates(*WORKERS), of_session(session))
    for session in asked:
        assert (
            one.pick(candidates(*WORKERS), of_session(session)).id
            == other.pick(candidates(*reversed(WORKERS)), of_session(session)).id
        )


def test_only_the_sessions_of_a_lost_worker_move_and_they_come_home() -> None:
    at_home = {number: policy().pick(candidates(*WORKERS), of_session(number)).id for number in range(500)}
    assert len(set(at_home.values())) == 8
    # Out for a moment: the table has it still, and later it may have it no more.
    rest = [worker for worker in WORKERS if worker != "w2"]
    for lonely in (policy(), policy(0, *rest)):
        for number, home in at_home.items():
            found = lonely.pick(candidates(*rest), of_session(number)).id
            assert found == home or home == "w2"
    back = policy()
    back.pick(candidates(*rest), of_session(1))
    assert all(back.pick(candidates(*WORKERS), of_session(number)).id == home for number, home in at_home.items())


def test_the_sessions_of_an_overloaded_worker_go_to_the_next_in_their_order_until_it_is_not() -> None:
    found = policy()
    mean = dict.fromkeys(WORKERS, 20.0)
    homes = {number: found.pick(candidates(*WORKERS, loads=mean), of_session(number)).id for number in range(300)}
    over = mean | {"w5": 60.0}
    spilt: Counter[str] = Counter()
    for number, home in homes.items():
        chosen = {found.pick(candidates(*WORKERS, loads=over), of_session(number)).id for _ in range(3)}
        assert len(chosen) == 1
        if home == "w5":
            spilt.update(chosen)
        else:
            assert chosen == {home}
    assert "w5" not in spilt
    assert len(spilt) > 3
    assert all(
        found.pick(candidates(*WORKERS, loads=mean), of_session(number)).id == home for number, home in homes.items()
    )


@given(st.lists(st.integers(0, 100), min_size=8, max_size=8), sessions)
def test_nobody_over_its_bound_is_chosen(loads: list[int], session: int) -> None:
    by_worker = dict(zip(WORKERS, map(float, loads), strict=True))
    chosen = policy().pick(candidates(*WORKERS, loads=by_worker), of_session(session))
    assert chosen.load() + 1 <= max(NEVER_OVER, 1.25 * (sum(loads) + 1) / 8 + 1)


def test_the_bound_goes_by_the_weight() -> None:
    found = policy()
    home = found.pick(candidates(*WORKERS), of_session(1)).id
    loads = dict.fromkeys(WORKERS, 20.0) | {home: 40.0}
    unlike = [replace(one, weight=3.0 if one.id == home else 1.0) for one in candidates(*WORKERS, loads=loads)]
    assert found.pick(candidates(*WORKERS, loads=loads), of_session(1)).id != home
    assert found.pick(unlike, of_session(1)).id == home


def test_few_requests_overload_nobody() -> None:
    found = policy()
    home = found.pick(candidates(*WORKERS), of_session(1)).id
    assert found.pick(candidates(*WORKERS, loads={home: NEVER_OVER - 1.0}), of_session(1)).id == home
    assert found.pick(candidates(*WORKERS, loads={home: NEVER_OVER + 0.0}), of_session(1)).id != home


def test_without_a_session_the_prompts_opening_is_the_key() -> None:
    found = policy()
    chosen = {text: found.pick(candidates(*WORKERS), of_prompt(text)).id for text in map(str, range(100))}
    assert len(set(chosen.values())) == 8
    assert all(policy(2).pick(candidates(*WORKERS), of_prompt(text)).id == worker for text, worker in chosen.items())
    assert found.outcomes == {"prompt": 100}


def test_requests_without_any_key_are_counted_and_spread() -> None:
    found = policy()
    counts = Counter(found.pick(candidates(*WORKERS), SampleRequest(MODEL)).id for _ in range(80))
    assert set(counts.values()) == {10}
    assert found.outcomes == {"no_key": 80}
    assert "no_key" in found.fallbacks


def test_the_reasons_name_who_was_passed_over() -> None:
    found = policy()
    why = Why()
    home = found.pick(candidates(*WORKERS), of_session(4), why)
    assert [(choice.worker, choice.reason) for choice in why.choices] == [(home.id, "home")]
    assert why.note == "key: session"
    why = Why()
    chosen = found.pick(candidates(*WORKERS, loads={home.id: 50.0}), of_session(4), why)
    assert [choice.worker for choice in why.choices] == [chosen.id, home.id]
    assert why.choices[1].reason.startswith("over 1.25 times the mean of ")
