"""Example and LMCache: found by the prompt's tokens."""

from __future__ import annotations

import pytest

from controlplane.sim import SimConfig

from ..client import run, simulator
from .legs import said, state, told


@pytest.mark.parametrize("connector", ["example", "lmcache"])
def test_what_one_worker_computed_the_others_find_in_whole_blocks(connector: str) -> None:
    async def main() -> None:
        config = SimConfig(port=0, time_scale=0, count=3, kv_connector=connector)
        async with simulator(config) as (prefill, decode, other):
            alone = await said(other, None, prompt="Somebody else's.")
            assert await told(prefill, None) is None
            assert await said(decode, None) == await said(prefill, None)
            hits = [(await state(url))["engine"]["external_prefix_cache_hits"] for url in (prefill, decode, other)]
            assert hits[1] > 0
            assert hits[1] % config.block_size == 0
            assert (hits[0], hits[2]) == (0, 0)
            assert await said(decode, None, prompt="Somebody else's.") == alone

    run(main())
