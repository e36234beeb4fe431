"""cache_aware: to where the prompt is, unless the queue there costs more than it saves."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.policies import Why
from dataplane.policies.cache_aware import CacheAware
from dataplane.policies.conformance import SampleRequest
from dataplane.policies.prompt import ENDS
from shared.messages import MAX_LEARNT, Learnt
from tests.unit.dataplane.policies.tables import MODEL, candidates, names, plane, table

WORKERS = names(8)
FLEET = candidates(*WORKERS)


def policy(slot: int = 0) -> CacheAware:
    found = CacheAware(plane(slot))
    found.follow(table(*WORKERS))
    return found


def ask(text: str, *, at: float = 0.0) -> SampleRequest:
    return SampleRequest(MODEL, body=json.dumps({"model": MODEL, "prompt": text}).encode(), arrived=at)


def text_of(name: str, length: int = 8000) -> str:
    return (name * length)[:length]


def test_the_next_turn_goes_to_the_worker_of_the_one_before() -> None:
    found = policy()
    for number in range(50):
        text = text_of(f"conversation {number} ")
        home = found.pick(FLEET, ask(text))
        assert found.pick(FLEET, ask(text + " and more")).id == home.id
    assert found.outcomes == {"prefix_miss": 50, "prefix_hit": 50}


def test_planes_agree_on_a_prompt_that_neither_has_seen() -> None:
    """G-BAL-4 in small: idle workers are chosen among by the prompt alone."""
    chosen = [
        [found.pick(FLEET, ask(text_of(f"conversation {number} "))).id for number in range(100)]
        for found in (policy(0), policy(1), policy(2))
    ]
    assert chosen[0] == chosen[1] == chosen[2]
    assert len(set(chosen[0])) == 8


def test_of_the_two_homes_the_less_loaded_one_takes_what_nobody_has() -> None:
    first = policy().pick(FLEET, ask(text_of("x")))
    second = policy().pick(candidates(*WORKERS, loads={first.id: 5.0}), ask(text_of("x")))
    assert second.id != first.id
    both = {first.id: 30.0, second.id: 20.0}
    assert policy().pick(candidates(*WORKERS, loads=both), ask(text_of("x"))).id == second.id


def test_prompts_that_wait_count_by_their_tokens() -> None:
    """Prompts differ a hundredfold: one request may be a longer queue than twenty."""
    first = policy().pick(FLEET, ask(text_of("x")))
    waiting = tuple(dataclasses.replace(one, tokens=50_000 if one is first else 0) for one in FLEET)
    assert policy().pick(waiting, ask(text_of("x"))).id != first.id
    found = policy()
    text = text_of("mine ", 40_000)
    holder = found.pick(FLEET, ask(text)).id
    assert found.expected == 10_001
    found.outcomes.clear()
    # A fifth of them, against the 10,000 tokens that are cached.
    for tokens, is_joined in ((30_000, True), (70_000, False)):
        queue = tuple(dataclasses.replace(one, tokens=tokens if one.id == holder else 0) for one in FLEET)
        assert (found.pick(queue, ask(text)).id == holder) is is_joined
    assert found.outcomes == {"prefix_hit": 1, "prefix_too_dear": 1}


def test_what_no_engine_computes_is_not_expected() -> None:
    found = policy()
    found.pick(FLEET, dataclasses.replace(ask(text_of("x")), path="/tokenize"))
    assert found.expected == 0
    found.pick(FLEET, ask(text_of("x", 8000)))
    assert found.expected > 0
    found.pick(FLEET, SampleRequest(MODEL, body=b"RIFF"))
    assert found.expected == 0


def test_a_queue_that_costs_more_than_the_prefix_saves_is_not_joined() -> None:
    found = policy()
    for number in range(200):
        found.pick(FLEET, ask(text_of(f"other {number} ")))
    text = text_of("mine ")
    holder = found.pick(FLEET, ask(text)).id
    # The mean prompt is about 2,000 tokens to compute, and each request there counts for 0.15 of that.
    found.outcomes.clear()
    assert found.pick(candidates(*WORKERS, loads={holder: 2.0}), ask(text)).id == holder
    assert found.pick(candidates(*WORKERS, loads={holder: 15.0}), ask(text)).id != holder
    assert found.outcomes == {"prefix_hit": 1, "prefix_too_dear": 1}


def test_a_beginning_that_is_too_small_a_part_of_the_prompt_does_not_count() -> None:
    """A system prompt that everybody has must not draw everybody to one worker."""
    found = policy()
    system = text_of("be nice ", 2048)
    counts = Counter(found.pick(FLEET, ask(system + text_of(f"question {n} ", 8000))).id for n in range(400))
    assert found.outcomes == {"prefix_miss": 400}
    assert len(counts) == 8
    assert max(counts.values()) < 100


def test_a_worker_that_is_far_more_loaded_is_left_out_by_both_thresholds() -> None:
    found = policy()
    text = text_of("mine ", 200_000)
    holder = found.pick(FLEET, ask(text)).id
    found.outcomes.clear()
    others = dict.fromkeys(WORKERS, 100.0)
    # More than 64 apart, but not one and a half times as many; and the other way round.
    assert (
        found.pick(candidates(*WORKERS, loads=dict.fromkeys(WORKERS, 200.0) | {holder: 270.0}), ask(text)).id == holder
    )
    assert found.pick(candidates(*WORKERS, loads={holder: 64.0}), ask(text)).id == holder
    assert found.pick(candidates(*WORKERS, loads=others | {holder: 165.0}), ask(text)).id != holder
    assert found.outcomes == {"prefix_hit": 2, "imbalanced": 1}


def test_g_bal_4_what_one_plane_has_sent_the_others_know_of_a_moment_later() -> None:
    one, other = policy(0), policy(1)
    text = text_of("mine ")
    home = one.pick(FLEET, ask(text)).id
    elsewhere = next(worker for worker in WORKERS if worker != home)
    other.hear({elsewhere: Learnt(1, b""), **one.learnt()}, 0.0)
    assert other.pick(FLEET, ask(text + "x")).id == home
    assert other.outcomes == {"prefix_hit": 1}
    assert one.learnt() == {}
    # What it heard of is no news to tell on, and of what it sent only what nobody had.
    told = other.learnt()
    assert set(told) <= {home}
    assert all(not learnt.hashes for learnt in told.values())


def test_what_is_told_at_once_is_bounded() -> None:
    found = policy()
    for number in range(400):
        found.pick(FLEET, ask(text_of(f"conversation {number} ", 16_000)))
    assert MAX_LEARNT * 0.9 < sum(len(told.hashes) for told in found.learnt().values()) / 8 <= MAX_LEARNT


def test_news_is_believed_of_workers_in_the_table_only_and_no_more_than_a_report_may_hold() -> None:
    found = policy()
    many = b"".join((number << 7).to_bytes(8, "little") for number in range(MAX_LEARNT + 500))
    found.hear({"nobody": Learnt(1, many), "w1": Learnt(1, many)}, 0.0)
    assert len(found._index) == MAX_LEARNT


@pytest.mark.parametrize("hashes", [b"", b"123", b"\xff" * 16, b"\0" * 8])
def test_odd_news_does_no_harm(hashes: bytes) -> None:
    found = policy()
    found.hear({"w0": Learnt(1, hashes), "nobody": Learnt(9, hashes)}, 0.0)
    found.follow(table(*WORKERS, version=2))
    assert found.pick(FLEET, ask(text_of("x"))).id in WORKERS


def test_a_restarted_worker_has_nothing_and_does_not_get_everything_that_is_missed() -> None:
    """The death spiral: a missed prefix always sent to the emptiest cache."""
    found = policy()
    for number in range(400):
        found.pick(FLEET, ask(text_of(f"conversation {number} ")))
    found.follow(table(*WORKERS, epochs={"w3": 2}, version=2))
    fresh = tuple(type(one)(one.id, 2 if one.id == "w3" else 1, one.busy) for one in FLEET)
    found.outcomes.clear()
    counts = Counter(found.pick(fresh, ask(text_of(f"newcomer {number} "))).id for number in range(400))
    assert found.outcomes == {"prefix_miss": 400}
    assert counts["w3"] < 2 * 400 / 8


def test_requests_without_a_prompt_are_counted_and_go_to_the_least_loaded() -> None:
    found = policy()
    busy = candidates(*WORKERS, loads={worker: 5.0 for worker in WORKERS if worker != "w6"})
    assert found.pick(busy, SampleRequest(MODEL, "/v1/audio/transcriptions", body=b"RIFF")).id == "w6"
    assert found.outcomes == {"no_prompt": 1}
    assert "no_prompt" in found.fallbacks


def test_the_reasons_tell_what_each_would_have_cost() -> None:
    found = policy()
    text = text_of("mine ", ENDS[9])
    holder = found.pick(FLEET, ask(text)).id
    why = Why()
    assert found.pick(candidates(*WORKERS, loads={holder: 1.0}), ask(text), why).id == holder
    first, second = why.choices
    assert first.worker == holder
    assert first.reason.endswith(f"about {ENDS[9] // 4} tokens cached, 0 to compute, load 1")
    assert second.reason == "home, about 0 tokens cached, 0 to compute, load 0"
    assert first.score is not None
    assert second.score is not None
    assert first.score < second.score
    assert "tokens; a request there counts for" in why.note


def test_a_worker_with_the_prompt_that_is_no_candidate_is_named() -> None:
    policy = CacheAware(plane())
    workers = names(4)
    policy.follow(table(*workers))
    asked = SampleRequest(MODEL, body=b'{"prompt":"%b"}' % (b"a long story " * 200))
    best = policy.pick(candidates(*workers), asked)
    why = Why()
    chosen = policy.pick([one for one in candidates(*workers) if one.id != best.id], asked, why)
    assert chosen.id != best.id
    assert f"; {best.id} has about 640 of them, but is no candidate" in why.note
    again = Why()
    policy.pick(candidates(*workers), asked, again)
    assert "no candidate" not in again.note


@given(st.integers(0, 3), st.lists(st.integers(0, 40), min_size=6, max_size=6), st.integers(1, 30))
def test_the_home_is_looked_for_only_where_it_could_be_the_cheapest(
    asked_before: int, loads: list[int], words: int
) -> None:
    """With and without reasons (for which all are looked at) the choice is the same."""
    workers = names(6)
    busy = candidates(*workers, loads={name: float(load) for name, load in zip(workers, loads, strict=True)})
    asked = SampleRequest(MODEL, body=b'{"prompt":"%b"}' % (b"a long story " * 20 * words))
    chosen = []
    for why in (None, Why()):
        policy = CacheAware(plane())
        policy.follow(table(*workers))
        for _ in range(asked_before):
            policy.pick(candidates(*workers), asked)
        chosen.append(policy.pick(busy, asked, why).id)
    assert chosen[0] == chosen[1]


def test_workers_that_left_are_freed_at_the_interval() -> None:
    found = policy()
    for number in range(300):
        found.pick(FLEET, ask(text_of(f"conversation {number} "), at=1.0))
    before = len(found._index)
    found.follow(table(*WORKERS[:4], version=2))
    for step in range(100):
        found.pick(FLEET[:4], ask("short", at=200.0 + step))
    assert len(found._index) < 0.7 * before
    assert not found._index.sweep()
