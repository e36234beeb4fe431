"""Which arm of a name of `[models]` takes a request: compiled once for each view, then a look-up for each request.

A session stays on its arm, on every plane, without anybody keeping a list: by weighted rendezvous hashing each arm
draws a number from the session's key, and the highest wins (Schindelhauer and Schomaker 2005: `-weight / log(u)`). When
a weight grows, sessions move to that arm only; when an arm goes, only its own sessions move. Requests without a session
are drawn by weight.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from math import log
from typing import Literal, NamedTuple

from dataplane.subsets import Served, served_by
from shared.model_rules import ModelRules

_BITS = 52
"""Of a number drawn: half a step beside each is a float of its own, so none is 0 or 1."""
_WORD = (1 << 64) - 1

By = Literal["single", "only", "session", "draw", "response"]
"""What an arm was chosen by: the name has no other, no other was ready, the session, a random number, or who made the
response that the request goes on from."""


class Arm(NamedTuple):
    """What a request for `name` becomes: one for `model`, to the workers that `served` looks up.

    `label` tells the arms of one name apart. `rewrite`: the worker gets the model's name in the body. `seed` is what a
    session's number is drawn with.
    """

    name: str
    label: str
    model: str
    served: Served
    weight: float
    rewrite: bool
    seed: int = 0

    @property
    def sent_as(self) -> str:
        """The name that the worker gets."""
        return self.model if self.rewrite else self.name


class Taken(NamedTuple):
    """An arm with the reason for it."""

    arm: Arm
    by: By


class Route:
    """The arms of one name. `open` are those to choose from, empty while none has a worker that is ready."""

    __slots__ = ("_sums", "arms", "name", "only", "open")

    def __init__(self, name: str, arms: Sequence[Arm], is_ready: Callable[[Served], bool]) -> None:
        self.name = name
        self.arms = tuple(arms)
        ready = [arm for arm in arms if is_ready(arm.served)]
        # Those of weight 0 stand by, with equal shares.
        weighed = [arm for arm in ready if arm.weight] or [arm._replace(weight=1.0) for arm in ready]
        self.open: tuple[Arm, ...] = tuple(weighed)
        self.only = Taken(self.open[0], "single" if len(arms) == 1 else "only") if len(self.open) == 1 else None
        self._sums = list(accumulate(arm.weight for arm in self.open))

    def take(self, fields: Mapping[bytes, bytes], headers: Iterable[bytes], rng: random.Random) -> Taken | None:
        """Return the arm for a request with these fields, whose session is in the first of `headers` that it has.

        None when no arm has a worker that is ready.
        """
        if self.only is not None or not self.open:
            return self.only
        for header in headers:
            if key := fields.get(header, b"").strip():
                return Taken(of_session(self.open, key), "session")
        return Taken(self.open[bisect(self._sums, rng.random() * self._sums[-1], hi=len(self.open) - 1)], "draw")


def of_session(arms: Sequence[Arm], key: bytes) -> Arm:
    """Return the arm of a session: the same everywhere, among the same arms."""
    session = _number(key)
    return max(arms, key=lambda arm: -arm.weight / log(_drawn(session ^ arm.seed)))


def _number(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def _drawn(number: int) -> float:
    """Return a number between 0 and 1: the mixing step of SplitMix64 (Steele, Lea and Flood 2014)."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _WORD
    return (((number ^ number >> 31) >> (64 - _BITS)) + 0.5) / (1 << _BITS)


def routes_of(rules: ModelRules, is_ready: Callable[[Served], bool]) -> dict[str, Route]:
    """Return a route for each name that stands for something else. `is_ready`: somebody can take such a request."""
    routes = {}
    for name, rule in rules.items():
        arms = []
        for arm in rule.arms:
            model = name if arm.to is None else arm.to
            rewrite = rule.rewrite and model != name
            seed = _number(f"{name}\n{arm.label}".encode())
            arms.append(Arm(name, arm.label, model, served_by(model, arm.labels), arm.weight, rewrite, seed))
        if arms:
            routes[name] = Route(name, arms, is_ready)
    return routes
