"""What may be limited, by name: the same names on both sides of the wire.

Amounts are whole numbers, so that parts of them can be lent without losing any: of `slots`, requests at a time; of a
`rate`, thousandths of a request per second; of a `window`, what may be taken within any `WINDOW` seconds, requests or
tokens. A window is slots that are held for `WINDOW` seconds from when they are taken, however short the request is, so
what holds of lent slots holds of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from shared.client_keys import ClientKey
    from shared.table import Settings, Worker

Kind = Literal["slots", "rate", "window"]
TOTAL = "total"
MODEL = "model:"
"""What the names of models' limits begin with."""
KEY = "key:"
"""What the names of a client key's own limits begin with: `KEY`, the key's name and one of the following."""
OPEN, REQUESTS, TOKENS = ":open", ":requests", ":tokens"
WORKER = "worker:"
"""What the names of workers' limits begin with; a worker's id follows."""
ON_DEMAND = (KEY,)
"""What the names of limits begin with that are reported and lent only once they are needed: there may be many.

Workers' are none of them: who has no part of a worker's limit would take the worker for full, and never need it.
"""
RATE = "rate"
RATE_UNIT = 1000
"""Parts of one request per second that a rate is counted in: 10 per second over 4 planes are 2.5 each."""


WINDOW = 60.0
"""Seconds for which what is taken of a window is held."""
WINDOW_STEP = 1.0
"""Seconds that a plane may hold it for longer: it counts what it took in steps, and not one by one."""
TAKEN_STEP = 5.0
"""Seconds that what an ended plane took of a window counts longer at most: its last word holds 13 numbers for each."""
Taken = dict[int, int]
"""What was taken of a window, by for how many more `TAKEN_STEP` it counts."""
MARGIN = 5.0
"""Seconds that a request may last beyond its limit: open requests are looked at about once a second."""

INTERACTIVE = "interactive"
"""The class of all other requests, where one asks for it by name."""
BATCH = "batch"
"""The class of clients' keys whose requests go on when no other one waits."""
CLASSES = 2
"""All others, then `BATCH`."""


class Limit(NamedTuple):
    """One limit of the whole router."""

    name: str
    kind: Kind
    amount: int


def limits_of(settings: Settings) -> tuple[Limit, ...]:
    """Return the limits that are set."""
    limits = []
    if settings.max_concurrent_requests:
        limits.append(Limit(TOTAL, "slots", settings.max_concurrent_requests))
    if settings.rate_limit:
        limits.append(Limit(RATE, "rate", max(1, round(settings.rate_limit * RATE_UNIT))))
    limits += (Limit(MODEL + model, "slots", most) for model, most in settings.model_limits.items())
    limits += key_limits_of(settings.client_keys or ())
    return tuple(limits)


def key_limits_of(keys: Iterable[ClientKey]) -> list[Limit]:
    """Return the limits that clients' keys have for themselves; keys of one name have one set."""
    kinds: tuple[tuple[str, Kind], ...] = ((OPEN, "slots"), (REQUESTS, "window"), (TOKENS, "window"))
    named = {key.name: key.limits for key in keys}
    return [
        Limit(KEY + name + what, kind, amount)
        for name, amounts in named.items()
        for (what, kind), amount in zip(kinds, amounts, strict=True)
        if amount
    ]


def is_on_demand(name: str) -> bool:
    """Whether a limit is reported and lent only once it is needed."""
    return name.startswith(ON_DEMAND)


MOST_ADAPTIVE = 1024
"""Requests at a time, where a worker's limit is found and nobody says how far it may go: vLLM's largest batches."""


def worker_limits(settings: Settings, workers: Iterable[Worker]) -> tuple[Limit, ...]:
    """Return the limits of the workers that have one: their own, or that for all (0, in both: none).

    Where limits are found, these are the most that they may be.
    """
    of_all = settings.worker_max_concurrent_requests or (MOST_ADAPTIVE if settings.adaptive_worker_limit else 0)
    each = ((one.id, of_all if one.max_concurrent_requests is None else one.max_concurrent_requests) for one in workers)
    return tuple(Limit(WORKER + worker, "slots", most) for worker, most in each if most)


def fair_share(amount: int, planes: int) -> int:
    """Return an equal part of a limit for each of `planes`; the parts together are never more than the limit."""
    return amount // max(1, planes)


def held_for(kind: Kind, longest: float) -> float:
    """Return for how many seconds what was taken may be in use, where no request lasts over `longest` seconds."""
    return {"slots": longest + MARGIN, "rate": 0.0, "window": WINDOW + WINDOW_STEP}[kind]


MAX_MODELS = 256
"""Models with a limit of their own: each is a few bytes in every report of a plane."""


def model_limits(texts: Sequence[str]) -> dict[str, int]:
    """Read `MODEL=N` texts. Raises ValueError with what is wrong, without the flag's name."""
    found: dict[str, int] = {}
    for text in texts:
        model, _, most = text.rpartition("=")
        if not model or not most.isascii() or not most.isdigit() or not 0 < int(most) <= MOST:
            raise ValueError(f"has {text!r}; write MODEL=N, with a number from 1 to {MOST}")
        if model in found:
            raise ValueError(f"names model {model} twice; name it once")
        found[model] = int(most)
    if len(found) > MAX_MODELS:
        raise ValueError(f"names {len(found)} models; name at most {MAX_MODELS}")
    return found


MOST = 1_000_000_000
"""The largest limit that there can be."""
