"""What a simulated worker tells of its blocks, taken in by the index: the same as what its engine holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.kv_events.decode import decode
from controlplane.kv_events.source_index import SourceIndex
from controlplane.sim import SimConfig
from controlplane.sim.engine import Engine, Sequence
from controlplane.sim.kv_log import KvLog
from shared.kv_chain import chain, root

CONFIG = SimConfig(num_blocks=16, block_size=2, max_model_len=32, time_scale=0)
PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=30)


def take_in(log: KvLog, index: SourceIndex) -> SourceIndex:
    payload = log.batch(1.0)
    if payload is not None:
        for event in decode(payload).events:
            if not index.apply(event):
                index = SourceIndex(100)
    return index


@given(PROMPTS, st.integers(0, 29))
def test_the_index_follows_the_engine_through_evictions_and_clearing(prompts: list[list[int]], clear: int) -> None:
    log = KvLog(CONFIG.block_size)
    engine, index = Engine(CONFIG, log), SourceIndex(100)
    for number, prompt in enumerate(prompts):
        engine.submit(Sequence(prompt, 3, seed=number), 0.0)
        engine.advance(0.0)
        if number == clear:
            engine.pool.forget()
        index = take_in(log, index)
        assert len(index) == engine.pool.cached
        assert index.orphans == index.unusable == 0
    held = set(index.held()[0])
    for prompt in prompts:
        keys = chain(root(None), prompt, CONFIG.block_size)
        engine_has = len(engine.pool.find(_hashes(prompt)))
        assert next((n for n, key in enumerate(keys) if key not in held), len(keys)) == engine_has


def _hashes(prompt: list[int]) -> list[bytes]:
    from controlplane.sim.kv import block_hashes

    return block_hashes(prompt, CONFIG.block_size, len(prompt) // CONFIG.block_size)
