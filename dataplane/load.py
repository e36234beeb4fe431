"""How busy a worker is, as this plane sees it: figures of different age and origin, and formulas over them.

A request in flight counts from the moment it was sent, an engine's figure when it is read: each formula takes what
is in flight beyond the engine's own count as running there.

| formula | load | after |
|---|---|---|
| `vllm` | max(in_flight, running + waiting) + 6 * waiting * max(0, kv_usage - 0.5) | vLLM's data-parallel balancer |
| `mvllm` | (running * 3 + waiting) / capacity | mvllm's README, first version |
| `mvllm-half` | (running + waiting * 0.5) / capacity | mvllm's README, second version |

`vllm` is in requests. Its second term makes a worker whose KV cache is more than half full and that makes requests
wait look as bad as it is: up to 3 requests per waiting one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad


class Figures(NamedTuple):
    """What is known of a worker's load.

    `in_flight` counts requests of all planes: this plane's own (exact) plus the others' as they reported them,
    or, while the control plane is silent, N times the plane's own. `running`, `waiting` and `kv_usage` (0..1) are the
    engine's; all are 0 and `known` is false when they are older than 3 s. `capacity` is how many requests it takes at
    a time.
    """

    in_flight: int
    running: float
    waiting: float
    kv_usage: float
    known: bool
    capacity: float


Formula = Callable[[Figures], float]


def figures_of(
    own: int, others: int | None, planes: int, engine: WorkerLoad | None, engine_age: float, capacity: float = 1.0
) -> Figures:
    """Put figures together.

    `others` is what the other planes have in flight, None when that is not known; `engine_age` is the age
    of the engine's figures now, in seconds.
    """
    in_flight = own + others if others is not None else planes * own
    if engine is None or engine_age > LOAD_UNKNOWN_AFTER:
        return Figures(in_flight, 0.0, 0.0, 0.0, False, capacity)
    return Figures(in_flight, engine.running, engine.waiting, engine.kv_usage, True, capacity)


def vllm(figures: Figures) -> float:
    """Load in requests, by formula `vllm`."""
    in_flight, running, waiting, kv_usage, _, _ = figures
    return max(in_flight, running + waiting) + 6 * waiting * max(0.0, kv_usage - 0.5)


def mvllm(figures: Figures) -> float:
    """Load by formula `mvllm`."""
    return (_running(figures) * 3 + figures.waiting) / figures.capacity


def mvllm_half(figures: Figures) -> float:
    """Load by formula `mvllm-half`: below 0.5 is what mvllm prefers, and the lowest is below it if any is."""
    return (_running(figures) + figures.waiting * 0.5) / figures.capacity


def _running(figures: Figures) -> float:
    return max(figures.running, figures.in_flight - figures.waiting)


DEFAULT_FORMULA = "vllm"
FORMULAS: Mapping[str, Formula] = {"vllm": vllm, "mvllm": mvllm, "mvllm-half": mvllm_half}
"""By the names of `shared.config.LOAD_FORMULAS`."""
