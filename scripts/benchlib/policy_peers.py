"""What routerctl's policies are compared with: vllm-router 0.1.17's rules, and an oracle that knows every cache.

The rules are those of its documentation and of its answers to probes. They are given what they need at no cost: the
tokens of each prompt, which the real one asks every worker for, and exact counts of what is in flight, as it is one
process.
"""

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from controlplane.sim.kv import block_hashes
from dataplane.policies import Policy, Why
from tests.simulation.trace import BLOCK

_CACHE_THRESHOLD = 0.3
_BALANCE_ABS, _BALANCE_REL = 64, 1.5
_VIRTUAL_NODES = 160


class PeerCacheAware(Policy):
    """Imbalanced: the least in flight; a match of more than 0.3: that worker; else the first of the least in flight."""

    name = "vllm-router cache_aware"

    def pick(self, candidates: Sequence[Any], request: Any, why: Why | None = None) -> Any:
        """Return one of the candidates, which are those of the simulation."""
        if not hasattr(self, "_tree"):
            self._tree: dict[bytes, set[str]] = {}
        hashes = block_hashes(request.tokens, BLOCK, len(request.tokens) // BLOCK)
        loads = [one.own for one in candidates]
        least = candidates[loads.index(min(loads))]
        if max(loads) - min(loads) > _BALANCE_ABS and max(loads) > min(loads) * _BALANCE_REL:
            chosen = least
        else:
            matched = [sum(one.id in self._tree.get(digest, ()) for digest in hashes) for one in candidates]
            best = matched.index(max(matched))
            enough = matched[best] * BLOCK > _CACHE_THRESHOLD * len(request.tokens)
            chosen = candidates[best] if enough else least
        for digest in hashes:
            self._tree.setdefault(digest, set()).add(chosen.id)
        return chosen


class PeerConsistentHash(Policy):
    """A ring of 160 points per worker; without a session the key is the whole prompt."""

    name = "vllm-router consistent_hash"

    def pick(self, candidates: Sequence[Any], request: Any, why: Why | None = None) -> Any:
        """Return one of the candidates."""
        if not hasattr(self, "_ring"):
            self._ring = sorted(
                (_hash(f"{one.id}:{point}".encode()), one.id) for one in candidates for point in range(_VIRTUAL_NODES)
            )
        at = bisect_left(self._ring, (_hash(request.body), "")) % len(self._ring)
        return next(one for one in candidates if one.id == self._ring[at][1])


class Oracle(Policy):
    """cache_aware's cost, from what engines really have cached and really have to compute."""

    name = "oracle"

    def pick(self, candidates: Sequence[Any], request: Any, why: Why | None = None) -> Any:
        """Return one of the candidates."""
        hashes = block_hashes(request.tokens, BLOCK, len(request.tokens) // BLOCK)

        def cost(one: Any) -> float:
            engine = one.worker.engine
            queue: int = sum(
                max(0, len(work.prompt) - work.computed)
                for work in (*engine.running, *engine.waiting)
                if not work.produced
            )
            found: int = len(engine.pool.find(hashes))
            return queue / 3 - found * BLOCK

        return min(candidates, key=cost)


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
