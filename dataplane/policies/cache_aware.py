"""The worker that has most of the prompt in its cache already, unless its queue would cost more than that saves.

Nobody is asked: what a worker has is guessed from what was sent there (`prefix_index.py`), by this plane and, a tenth
of a second later, by the others. A prompt that nobody has goes home: to the less loaded of the first two workers on the
ring of its opening (`ring.py`), where planes agree before they have learnt from each other. It does not go to whoever
is emptiest: planes would scatter a conversation, and a restarted worker would get all that was missed (the death spiral
of sglang's PR 14532).

Of the workers that have more than `--cache-threshold` of the prompt, and of its home, the cheapest is chosen:

    cost = prompt tokens - tokens cached there + queue

in tokens to compute: its own, and those that it would wait for (`queue.py`). Who is loaded beyond both
`--balance-abs-threshold` and `--balance-rel-threshold` is left out, cached or not.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dataplane.policies.base import C, PlaneView, Policy, RequestView, Why
from dataplane.policies.lack import lack
from dataplane.policies.news import hashes_of
from dataplane.policies.prefix_index import PrefixIndex
from dataplane.policies.prompt import BYTES_PER_TOKEN, Prompt, read_prompt
from dataplane.policies.queue import Queues
from dataplane.policies.ring import Rings
from dataplane.policies.survey import Survey, Surveys, load_per_weight
from shared.messages import MAX_LEARNT, Learnt
from shared.table import RoutingTable, Settings

_MOST_HOLDERS = 4
"""Workers with the longest beginnings that are weighed against each other."""


class CacheAware(Policy):
    """By the prompt's prefix."""

    name = "cache_aware"
    fallbacks = {  # noqa: RUF012 - a ClassVar of the base
        "no_prompt": "requests without a prompt go to the least loaded worker; see docs/policies.md",
    }

    def __init__(self, plane: PlaneView) -> None:
        super().__init__(plane)
        settings = Settings()
        self._settings = settings
        self._index = PrefixIndex(max_length=settings.max_tree_size, max_bytes=settings.prefix_index_size)
        self._rings = Rings()
        self._surveys: Surveys[Any] = Surveys()
        self._workers: Collection[str] = ()
        self._queues = Queues()
        self._new: dict[str, tuple[int, array[int]]] = {}
        self._told = 0
        self._next_sweep = 0.0

    def follow(self, table: RoutingTable) -> None:
        """Go by this table's workers and settings; forget the caches of workers that were restarted."""
        settings = self._settings = table.settings
        self._rings.follow(table)
        self._surveys.forget()
        self._index.limit(max_length=settings.max_tree_size, max_bytes=settings.prefix_index_size)
        self._index.follow({worker.id: worker.epoch for worker in table.workers.values()})
        self._workers = table.workers.keys()

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return the cheapest of those that have the prompt and of its home."""
        survey: Survey[C] = self._surveys.of(candidates, request.model, request.arrived)
        if request.arrived >= self._next_sweep and not self._index.sweep():
            self._next_sweep = request.arrived + self._settings.eviction_interval
        prompt = read_prompt(request.body)
        if prompt is None:
            self.expected = 0
            self.outcomes[lack("no_prompt", request)] += 1
            chosen = survey.least()
            if why is not None:
                why.note = "no prompt"
                why.add(chosen, "the least loaded", chosen.load())
            return chosen
        blocks = prompt.block_hashes(request.model)
        chosen, cached = self._choose(survey, request, prompt, blocks, why)
        self.prompt_tokens += prompt.tokens
        self.cached_tokens += cached
        self.expected = self._queues.join(request.path, prompt.tokens - cached)
        self._note(chosen.id, chosen.epoch, self._index.learn(chosen.id, chosen.epoch, blocks))
        return chosen

    def uncached(self, candidates: Sequence[C], request: RequestView) -> int | None:
        """Return it by what was sent to the candidates."""
        prompt = read_prompt(request.body)
        if prompt is None:
            return None
        among = {one.id for one in candidates}
        holders = self._index.holders(prompt.block_hashes(request.model), _MOST_HOLDERS, 0)
        most = max((length for worker, length in holders if worker in among), default=0)
        return prompt.tokens - most // BYTES_PER_TOKEN

    def _choose(
        self, survey: Survey[C], request: RequestView, prompt: Prompt, blocks: list[int], why: Why | None
    ) -> tuple[C, int]:
        """Return the chosen one, and how many tokens of the prompt it has."""
        settings = self._settings
        having: list[tuple[C, int]] = []
        busy: list[C] = []
        absent: list[tuple[str, int]] = []
        above = settings.cache_threshold * len(prompt.text)
        for worker, length in self._index.holders(blocks, _MOST_HOLDERS, above):
            one = survey.by_id.get(worker)
            if one is None:
                absent.append((worker, length))
                continue
            if self._is_too_busy(one, survey):
                busy.append(one)
            else:
                having.append((one, length // BYTES_PER_TOKEN))
        queues = self._queues
        costs = [(prompt.tokens - cached + queues.cost(one), cached, one) for one, cached in having]
        otherwise = "prefix_too_dear" if having else "imbalanced" if busy else "prefix_miss"
        home: C | None = None
        # Elsewhere the whole prompt is to be computed: whoever costs less than that is the cheapest.
        if why is not None or all(cost >= prompt.tokens for cost, _, _ in costs):
            home = self._home(survey, request.model, prompt.opening_hash(request.model, blocks))
            if all(one is not home for _, _, one in costs):
                costs.append((prompt.tokens + queues.cost(home), 0, home))
        _, cached, best = min(costs, key=_cost)
        self.outcomes["prefix_hit" if cached else otherwise] += 1
        if why is not None:
            why.note = f"prompt of about {prompt.tokens} tokens; a request there counts for {queues.each:.0f}"
            for worker, length in absent:
                why.note += f"; {worker} has about {length // BYTES_PER_TOKEN} of them, but is no candidate"
            for cost, tokens, one in sorted(costs, key=_cost):
                where = "home, " if one is home else ""
                why.add(
                    one, f"{where}about {tokens} tokens cached, {one.prefill()} to compute, load {one.load():g}", cost
                )
            for one in busy:
                if one is not best:
                    why.add(one, f"has the prompt, but is too busy: load {one.load():g}")
        return best, cached

    def _home(self, survey: Survey[C], model: str | None, key: int) -> C:
        first: C | None = None
        for worker in self._rings.of(model).walk(key):
            one = survey.by_id.get(worker)
            if one is None or self._is_too_busy(one, survey):
                continue
            if first is not None:
                return min(first, one, key=self._queues.order)
            first = one
        return first or survey.least()

    def _is_too_busy(self, one: C, survey: Survey[C]) -> bool:
        load = load_per_weight(one)
        settings = self._settings
        if load <= settings.balance_abs_threshold:
            return False
        least = load_per_weight(survey.least())
        return load - least > settings.balance_abs_threshold and load > least * settings.balance_rel_threshold

    # --- what planes tell each other -----------------------------------------------------------------------

    def _note(self, worker: str, epoch: int, new: list[int]) -> None:
        if not new or self._told + len(new) > MAX_LEARNT:
            return
        self._told += len(new)
        noted = self._new.get(worker)
        if noted is None or noted[0] != epoch:
            noted = self._new[worker] = (epoch, array("Q"))
        noted[1].extend(new)

    def learnt(self) -> Mapping[str, Learnt]:
        """Return the blocks that workers were sent and were not known to have."""
        new, self._new = self._new, {}
        self._told = 0
        return {worker: Learnt(epoch, hashes.tobytes()) for worker, (epoch, hashes) in new.items()}

    def hear(self, learnt: Mapping[str, Learnt], now: float) -> None:
        """Believe that workers have what other planes sent them."""
        for worker, told in learnt.items():
            if worker in self._workers:
                self._index.learn(worker, told.epoch, hashes_of(told))


def _cost(offer: tuple[float, int, C]) -> float:
    return offer[0]
