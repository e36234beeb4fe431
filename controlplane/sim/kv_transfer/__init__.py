"""KV cache that goes from one simulated worker to another: a file for each of vLLM's connectors."""

from __future__ import annotations

from .base import EngineSide
from .mooncake import Mooncake
from .moriio import Moriio
from .nccl import Nccl
from .nixl import Nixl
from .nixl_push import NixlPush
from .shared_store import Example, LmCache

CONNECTORS: dict[str, type[EngineSide]] = {
    side.name: side for side in (Nixl, NixlPush, Mooncake, Moriio, Nccl, Example, LmCache)
}
"""By the names that the router's `--kv-connector` has for them."""

__all__ = ["CONNECTORS", "EngineSide"]
