"""How loaded the candidates are as a whole, without looking at each for every request.

Up to 16 candidates are looked at each time. More are looked at again after 50 ms, all of a model's at once: half of
what other planes' figures are old anyway, and 1,000 workers then cost 2 % of a core. What is remembered is the mean
and the few least loaded ones, whose own load is asked for anew. Loads are per weight.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Generic

from dataplane.policies.base import C

FEW = 16
LIFE = 0.05
"""Seconds for which a look at many candidates holds."""
_LEAST = 8
_MOST_SURVEYS = 64


def load_per_weight(one: C) -> float:
    """Return a worker's load in requests for each unit of its weight."""
    return one.load() / one.weight


class _Look:
    """What was seen of a model's candidates: when, their mean load per weight, and the ids of the least loaded."""

    __slots__ = ("least", "mean", "taken")

    def __init__(self) -> None:
        self.taken = float("-inf")
        self.mean = 0.0
        self.least: tuple[str, ...] = ()


class Survey(Generic[C]):
    """The candidates of one request: by their ids, and by load. `turn` counts requests."""

    __slots__ = ("_look", "_now", "by_id", "candidates", "turn")

    def __init__(self, candidates: Sequence[C]) -> None:
        self.candidates = candidates
        self.by_id = {one.id: one for one in candidates}
        self.turn = 0
        self._look = _Look()
        self._now = 0.0

    def use(self, look: _Look, now: float, turn: int) -> None:
        """Be asked by a request at `now`, in seconds, about a model that was looked at before."""
        self._look, self._now, self.turn = look, now, turn

    @property
    def mean(self) -> float:
        """Their mean load in requests for each unit of weight."""
        return self._fresh().mean

    def least(self) -> C:
        """Return the one with the least load per weight; equal ones have their turns."""
        by_id = self.by_id
        if len(by_id) <= FEW:
            among = list(self.candidates)
        else:
            # Those that were tried or avoided are no candidates now.
            among = [by_id[worker] for worker in self._fresh().least if worker in by_id] or list(self.candidates)
        start = self.turn % len(among)
        return min((*among[start:], *among[:start]), key=load_per_weight)

    def _fresh(self) -> _Look:
        look = self._look
        count = len(self.candidates)
        if count > FEW and self._now - look.taken < LIFE:
            return look
        look.taken = self._now
        loads = [one.load() for one in self.candidates]
        look.mean = sum(loads) / sum(one.weight for one in self.candidates)
        if count > FEW:
            relative = [load / one.weight for load, one in zip(loads, self.candidates, strict=True)]
            order = heapq.nsmallest(_LEAST, range(count), key=relative.__getitem__)
            look.least = tuple(self.candidates[index].id for index in order)
        return look


class Surveys(Generic[C]):
    """A survey for each group of candidates that is asked for."""

    def __init__(self) -> None:
        # By identity: groups are compiled once per table. A survey keeps its group, so no other takes its place.
        self._surveys: dict[int, Survey[C]] = {}
        self._looks: dict[str | None, _Look] = {}
        self._turn = 0

    def forget(self) -> None:
        """Let go of workers that may have left."""
        self._surveys.clear()
        self._looks.clear()

    def of(self, candidates: Sequence[C], model: str | None, now: float) -> Survey[C]:
        """Return the survey of a model's candidates; `now` in seconds."""
        survey = self._surveys.get(id(candidates))
        if survey is None or survey.candidates is not candidates:
            if len(self._surveys) >= _MOST_SURVEYS:
                self._surveys.clear()
            survey = self._surveys[id(candidates)] = Survey(candidates)
        look = self._looks.get(model)
        if look is None:
            if len(self._looks) >= _MOST_SURVEYS:
                self._looks.clear()
            look = self._looks[model] = _Look()
        self._turn += 1
        survey.use(look, now, self._turn)
        return survey
