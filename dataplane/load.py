"""How busy a worker is, as this plane sees it: one formula over figures of different age and origin.

After vLLM's own data-parallel balancer, which has the same problem (its engines' counts are stale too):

    load = max(in_flight, running + waiting) + 6 * waiting * max(0, kv_usage - 0.5)

`in_flight` counts requests of all planes: this plane's own (exact) plus the others' as they reported them,
or, while the control plane is silent, N times the plane's own. `running`, `waiting` and `kv_usage` (0..1)
are the engine's, unknown when older than 3 s. The second term makes a worker whose KV cache is more than
half full and that makes requests wait look as bad as it is: up to 3 requests per waiting one.
"""

from __future__ import annotations

from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad


def load_of(own: int, others: int | None, planes: int, engine: WorkerLoad | None, engine_age: float) -> float:
    """Return the load in requests.

    `others` is what the other planes have in flight, None when that is not known; `engine_age` is the age
    of the engine's figures now, in seconds.
    """
    in_flight = own + others if others is not None else planes * own
    if engine is None or engine_age > LOAD_UNKNOWN_AFTER:
        return float(in_flight)
    return max(in_flight, engine.running + engine.waiting) + 6 * engine.waiting * max(0.0, engine.kv_usage - 0.5)
