"""The engine against its own description: times, slots, blocks, and nothing lost whatever happens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controlplane.sim import SimConfig, text
from controlplane.sim.engine import Engine, Sequence

BASE = SimConfig(
    prefill_tokens_per_second=1000,
    decode_ms=10,
    decode_growth=0.5,
    num_blocks=64,
    block_size=4,
    max_model_len=256,
    max_num_seqs=2,
)


def engine(**changes: Any) -> Engine:
    return Engine(SimConfig(**{name: changes.get(name, getattr(BASE, name)) for name in BASE.__struct_fields__}))


def sequence(prompt: list[int], target: int) -> Sequence:
    return Sequence(prompt, target, text.seed_of(prompt))


def finish(subject: Engine, now: float = 0.0) -> float:
    """Advance from event to event until the engine is idle; return the time."""
    subject.advance(now)
    while subject.next_time is not None:
        now = subject.next_time
        subject.advance(now)
    return now


def test_a_prompt_takes_its_tokens_and_each_further_token_a_step() -> None:
    subject, one = engine(), sequence(list(range(100)), 3)
    subject.submit(one, 5.0)
    assert finish(subject, 5.0) == pytest.approx(5.0 + 0.100 + 2 * 0.010)
    assert one.first_token_at == pytest.approx(5.1)
    assert one.finish_reason == "length"


def test_a_cached_beginning_costs_no_time() -> None:
    subject = engine()
    subject.submit(sequence(list(range(100)), 1), 0.0)
    now = finish(subject)
    again = sequence(list(range(100)), 1)
    subject.submit(again, now)
    # All but the last block, whose last token has to be computed for its logits.
    assert finish(subject, now) == pytest.approx(now + 0.004)
    assert again.cached == 96
    assert (subject.stats.prefix_cache_queries, subject.stats.prefix_cache_hits) == (200, 96)


def test_the_next_turn_of_a_conversation_finds_the_answer() -> None:
    subject, first = engine(), sequence(list(range(8)), 9)
    subject.submit(first, 0.0)
    now = finish(subject)
    second = sequence([*range(8), *text.ids(first.seed, 0, 9), 1, 2], 1)
    subject.submit(second, now)
    finish(subject, now)
    assert second.cached == 16


def test_a_larger_batch_decodes_slower() -> None:
    subject = engine()
    for start in (0, 100):
        subject.submit(sequence([start], 3), 0.0)
    assert finish(subject) == pytest.approx(0.002 + 2 * 0.015)


def test_who_finds_no_slot_waits() -> None:
    subject = engine()
    for start in (0, 100, 200):
        subject.submit(sequence([start], 2), 0.0)
    subject.advance(0.0)
    assert (len(subject.running), len(subject.waiting)) == (2, 1)
    finish(subject)
    assert (len(subject.running), len(subject.waiting)) == (0, 0)
    assert subject.stats.finished["length"] == 3


def test_a_long_prompt_is_prefilled_in_chunks_between_decodes() -> None:
    subject = engine(max_num_batched_tokens=16)
    short, long = sequence([7], 100), sequence(list(range(1, 65)), 1)
    subject.submit(short, 0.0)
    subject.advance(0.001)
    subject.submit(long, 0.001)
    while long.finish_reason is None and subject.next_time is not None:
        subject.advance(subject.next_time)
    assert short.produced == 6  # five steps for 64 tokens, 15 of them in each beside the decoding one


def test_when_blocks_run_out_the_last_admitted_gives_way_and_comes_back() -> None:
    subject = engine(num_blocks=8, max_model_len=32)
    both = [sequence([start] * 8, 20) for start in (1, 2)]
    for one in both:
        subject.submit(one, 0.0)
    finish(subject)
    assert [one.produced for one in both] == [20, 20]
    assert [one.preemptions for one in both] == [0, 1]
    assert subject.stats.preemptions == 1
    assert both[0].finished_at < both[1].finished_at


def test_an_abort_frees_slot_and_blocks_at_once() -> None:
    subject = engine()
    running, waiting = sequence([1] * 10, 50), sequence([2] * 10, 50)
    other = sequence([3], 50)
    for one in (running, other, waiting):
        subject.submit(one, 0.0)
    subject.advance(0.0)
    subject.abort(waiting)
    subject.abort(running)
    assert (subject.running, list(subject.waiting)) == ([other], [])
    assert subject.pool.referenced == 1
    subject.abort(other)
    assert subject.pool.referenced == 0
    assert subject.next_time is None


def test_no_time_passes_at_scale_0() -> None:
    subject = engine(time_scale=0)
    subject.submit(sequence(list(range(100)), 100), 3.0)
    [done] = subject.advance(3.0)
    assert (done.produced, done.finished_at, subject.next_time) == (100, 3.0, None)


class AnyOrder(RuleBasedStateMachine):
    """Submit, let time pass and abort in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = engine(num_blocks=10, max_model_len=40, max_num_seqs=3, max_num_batched_tokens=12)
        self.now = 0.0
        self.alive: list[Sequence] = []
        self.all: list[Sequence] = []

    @rule(start=st.integers(0, 3), length=st.integers(1, 30), answer=st.integers(1, 10))
    def submit(self, start: int, length: int, answer: int) -> None:
        one = sequence(list(range(start, start + length)), answer)
        self.engine.submit(one, self.now)
        self.alive.append(one)
        self.all.append(one)
        self.pass_time(0.0)

    @rule(seconds=st.floats(0, 0.2))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.engine.advance(self.now)
        self.alive = [one for one in self.alive if one.finish_reason is None]

    @precondition(lambda self: self.alive)
    @rule(which=st.integers(0, 100))
    def abort(self, which: int) -> None:
        self.engine.abort(self.alive.pop(which % len(self.alive)))
        self.pass_time(0.0)

    @invariant()
    def accounts_agree(self) -> None:
        subject = self.engine
        assert len(subject.running) <= 3
        assert len(subject.running) + len(subject.waiting) == len(self.alive)
        held = {block for one in subject.running for block in one.blocks}
        assert subject.pool.referenced == len(held)
        assert 0 <= subject.kv_usage <= 1
        assert all(not one.blocks for one in subject.waiting)
        for one in subject.running:
            assert len(one.blocks) * 4 >= one.computed + one.scheduled
        assert (subject.next_time is None) == (not self.alive)

    def teardown(self) -> None:
        while self.engine.next_time is not None:
            self.engine.advance(self.engine.next_time)
        assert self.engine.pool.referenced == 0
        assert all(one.finish_reason == "abort" or one.produced == one.target for one in self.all)
        assert self.engine.stats.generation_tokens == sum(one.produced for one in self.all)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=25)
