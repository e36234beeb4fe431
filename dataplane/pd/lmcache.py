"""LMCacheConnectorV1 and LMCacheMPConnector with a cache that all workers share: found by the prompt's tokens.

Nothing is handed over, as with vLLM's own proxy for it: the same body to both, the prefill's for one token. LMCache's
own way from worker to worker (`disagg_spec` on the prefill leg) names sockets of the receiver; it is not this.
"""

from __future__ import annotations

from dataplane.pd.example import Example


class LmCache(Example):
    """A shared LMCache."""

    name = "lmcache"
