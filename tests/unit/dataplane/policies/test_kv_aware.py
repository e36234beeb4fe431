"""The exact index in a choice: what is saved against what waits, and who chooses when nothing is known."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from dataplane.kv.caches import KvCaches
from dataplane.kv.prompts import MOST_BODY, PromptKeys
from dataplane.kv.replica import Copy, Life
from dataplane.policies import PlaneView, Why
from dataplane.policies.conformance import IDLE, SampleCandidate, SampleRequest, check_policy
from dataplane.policies.kv_aware import KvAware, credit_of
from shared.kv_chain import chain, pack, root
from shared.kv_messages import (
    TIER_DEVICE,
    TIER_DISK,
    TIER_EXTERNAL,
    TIER_HOST,
    TIER_NONE,
    KvSourceState,
    KvStanding,
    KvUpdate,
)
from shared.table import ModelCard, Settings, Stamp, Worker, make_table

SIZE = 4
PROMPT = list(range(100, 140))
STAMP = Stamp(1, 1, 0)
CREDITS = (1.0, 0.8, 0.6, 0.3)


def fleet(*loads: float) -> list[SampleCandidate]:
    return [SampleCandidate(f"w{number}", busy=IDLE._replace(running=load)) for number, load in enumerate(loads)]


def request(tokens: Any = None, *, model: str = "m", **fields: Any) -> SampleRequest:
    body = json.dumps({"model": model, "prompt": PROMPT if tokens is None else tokens}).encode()
    return SampleRequest(model=model, path="/v1/completions", body=body, **fields)


class Scene:
    """A policy on a plane that knows what some engines hold."""

    def __init__(self, settings: Settings, models: tuple[ModelCard, ...], workers: int) -> None:
        self.kv = KvCaches(random.Random(1), lambda _: True)
        self.policy = KvAware(PlaneView(0, random.Random(1), self.kv))
        self.settings = settings
        self.models = models
        self.workers = [Worker(id=f"w{number}", url=f"http://w{number}", state="ready") for number in range(workers)]
        self.use(settings)
        self.seq: Counter[tuple[str, int]] = Counter()

    def use(self, settings: Settings) -> None:
        table = make_table(epoch=1, version=1, workers=self.workers, models=self.models, settings=settings)
        self.policy.follow(table)

    def holds(
        self,
        worker: str,
        tokens: list[int],
        *,
        tier: int = TIER_DEVICE,
        size: int = SIZE,
        rank: int = 0,
        lora: str | None = None,
    ) -> None:
        """Let an engine tell that it holds a prompt's blocks."""
        keys = chain(root(lora), tokens, size)
        self.seq[worker, rank] += 1
        state = KvSourceState(worker, rank, 1, self.seq[worker, rank], size, len(keys))
        self.kv.take(KvUpdate(STAMP, state, pack(keys), bytes([tier] * len(keys))))

    def drops(self, worker: str, tokens: list[int], block: int) -> None:
        """Let an engine tell that it holds one block of a prompt no more."""
        self.seq[worker, 0] += 1
        state = KvSourceState(worker, 0, 1, self.seq[worker, 0], SIZE, 0)
        self.kv.take(KvUpdate(STAMP, state, pack([chain(root(None), tokens, SIZE)[block]]), bytes([TIER_NONE])))

    async def pick(
        self, candidates: list[SampleCandidate], asked: SampleRequest, why: Why | None = None
    ) -> SampleCandidate:
        preparing = self.policy.prepare(asked)
        prepared = None if preparing is None else await preparing
        asked = SampleRequest(asked.model, asked.path, asked.fields, asked.body, asked.arrived, prepared)
        return self.policy.pick(candidates, asked, why)

    async def uncached(self, candidates: list[SampleCandidate], asked: SampleRequest) -> int | None:
        preparing = self.policy.prepare(asked)
        prepared = None if preparing is None else await preparing
        asked = SampleRequest(asked.model, asked.path, asked.fields, asked.body, asked.arrived, prepared)
        return self.policy.uncached(candidates, asked)


def play(
    act: Callable[[Scene], Awaitable[None]],
    settings: Settings | None = None,
    models: tuple[ModelCard, ...] = (),
    workers: int = 4,
) -> None:
    async def run() -> None:
        scene = Scene(settings or Settings(policy="kv_aware"), models, workers)
        try:
            async with asyncio.timeout(30):
                await act(scene)
        finally:
            scene.kv.close()

    asyncio.run(run())


def test_who_holds_most_of_the_prompt_is_chosen() -> None:
    async def act(scene: Scene) -> None:
        workers = fleet(0, 0, 0, 0)
        scene.holds("w1", PROMPT[:8])
        scene.holds("w2", PROMPT[:24])
        scene.holds("w3", PROMPT[4:])
        why = Why()
        for _ in range(8):
            assert (await scene.pick(workers, request())).id == "w2"
        await scene.pick(workers, request(), why)
        assert scene.policy.outcomes == {"prefix_hit": 9}
        assert [choice.worker for choice in why.choices][:2] == ["w2", "w1"]
        assert [choice.score for choice in why.choices][:2] == [16.0, 32.0]
        assert why.choices[0].reason == "24 tokens cached, 0 to compute, load 0"
        assert why.note == "prefix_hit: prompt of 40 tokens; a request there counts for " + why.note.rpartition(" ")[2]

    play(act)


def test_a_queue_may_cost_more_than_the_cache_saves() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w1", PROMPT[:8])
        # Prompts that nobody has teach the policy what a request there costs.
        for number in range(400):
            await scene.pick(fleet(0, 0, 0, 0), request([number] * 40))
        assert (await scene.pick(fleet(0, 0, 0, 0), request())).id == "w1"
        assert (await scene.pick(fleet(5, 5, 5, 5), request())).id == "w1"
        assert (await scene.pick(fleet(9, 9, 1, 9), request())).id == "w2"
        assert scene.policy.outcomes["prefix_too_dear"] == 1

    play(act)


def test_the_whole_prompt_is_worth_more_than_a_part_of_it() -> None:
    """A worker with everything but a longer queue, against one with nothing: the formula decides, with its units."""

    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT)
        why = Why()
        # A request in the queue counts for 3 tokens.
        scene.policy._queues.mean = 20.0
        assert (await scene.pick(fleet(13, 0), request(), why)).id == "w0"
        assert [choice.score for choice in why.choices] == [39.0, 40.0]
        scene.policy._queues.mean = 20.0
        assert (await scene.pick(fleet(14, 0), request())).id == "w1"

    play(act)


def test_of_several_engines_of_a_worker_the_best_counts() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT[:16])
        scene.holds("w1", PROMPT[:8], rank=0)
        scene.holds("w1", PROMPT[:20], rank=1)
        assert (await scene.pick(fleet(0, 0), request())).id == "w1"

    play(act)


def test_engines_may_have_blocks_of_different_sizes() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT[:16])
        scene.holds("w1", PROMPT[:30], size=10)
        assert (await scene.pick(fleet(0, 0), request())).id == "w1"

    play(act)


def test_who_is_no_candidate_is_not_chosen() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w3", PROMPT)
        scene.holds("w1", PROMPT[:8])
        assert (await scene.pick(fleet(0, 0), request())).id == "w1"

    play(act)


def test_a_prompt_that_nobody_holds_goes_where_cache_aware_says() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w1", [1, 2, 3, 4])
        why = Why()
        workers = fleet(0, 0, 0, 0)
        first = await scene.pick(workers, request(), why)
        assert why.note.startswith("prefix_miss: prompt of 40 tokens")
        assert why.choices[0].worker == first.id
        # Before the engine has told of it: so do the next ones, on every plane.
        assert {(await scene.pick(workers, request())).id for _ in range(5)} == {first.id}
        assert scene.policy.outcomes == {"prefix_miss": 6}

    play(act)


CARD = ModelCard(id="adapter", card=b'{"id": "adapter", "parent": "m"}')
BASE = ModelCard(id="m", card=b'{"id": "m", "parent": null}')


def test_adapters_have_their_own_prefixes() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT)
        scene.holds("w1", PROMPT, lora="adapter")
        assert (await scene.pick(fleet(0, 0), request())).id == "w0"
        assert (await scene.pick(fleet(0, 0), request(model="adapter"))).id == "w1"

    play(act, models=(CARD, BASE, ModelCard(id="odd", card=b"[]")))


@pytest.mark.parametrize(
    ("asked", "outcome"),
    [
        (request("some text"), "no_tokenizer"),
        (request([5, "x"]), "unreadable"),
        (SampleRequest("m", "/v1/embeddings", {}, b'{"input": [1]}'), "unreadable"),
        (request([5] * (MOST_BODY // 2)), "too_large"),
        (request(model="other"), "other_model"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_its_input_it_names_why(asked: SampleRequest, outcome: str) -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT)
        why = Why()
        await scene.pick(fleet(0, 0), asked, why)
        assert scene.policy.outcomes == {outcome: 1}
        assert outcome in scene.policy.fallbacks
        assert "cache_aware" in scene.policy.fallbacks[outcome]
        assert why.note.startswith(f"{outcome}: by cache_aware; ")

    play(act, Settings(policy="kv_aware", kv_event_model="m"))


def test_without_events_prompts_are_not_read() -> None:
    async def act(scene: Scene) -> None:
        assert scene.policy.prepare(request()) is None
        await scene.pick(fleet(0, 0), request())
        assert scene.policy.outcomes == {"no_events": 1}

    play(act)


def test_another_policys_preparation_is_none() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT)
        scene.policy.pick(fleet(0, 0), SampleRequest(prepared="something"))
        assert scene.policy.outcomes == {"not_read": 1}

    play(act)


def test_leaving_forgets_what_engines_hold() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT)
        scene.policy.leave()
        assert scene.kv.replica.sources == 0
        # What is still on its way comes for nothing.
        scene.holds("w1", PROMPT)
        assert scene.kv.replica.sources == 0

    play(act)


def test_one_of_two_policies_that_leaves_takes_nothing_from_the_other() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT)
        other = KvAware(PlaneView(0, random.Random(1), scene.kv))
        other.follow(make_table(epoch=1, version=1, workers=scene.workers))
        other.leave()
        scene.holds("w1", PROMPT)
        assert scene.kv.replica.sources == 2
        scene.policy.leave()
        assert scene.kv.replica.sources == 0

    play(act)


def test_at_a_temperature_workers_are_drawn() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT)
        drawn = Counter([(await scene.pick(fleet(0, 0), request())).id for _ in range(300)])
        # The other one costs the whole prompt more: e times less often.
        assert 2.0 < drawn["w0"] / drawn["w1"] < 3.6

    play(act, Settings(policy="kv_aware", router_temperature=1.0))


@pytest.mark.parametrize("ttl", [0.0, 10.0])
def test_a_session_prefers_its_last_worker_for_a_while(ttl: float) -> None:
    async def act(scene: Scene) -> None:
        fields: Mapping[bytes, bytes] = {b"x-session-id": b"s"}
        scene.holds("w0", [1, 2, 3, 4])
        scene.policy._queues.mean = 6.0

        async def ask(loads: tuple[float, ...], tokens: list[int], now: float) -> str:
            chosen = await scene.pick(fleet(*loads), request(tokens, fields=fields, arrived=now))
            scene.policy._queues.mean = 6.0
            return chosen.id

        # It was sent to w1 because w0 was busy; what is in w1's cache was not told yet.
        assert await ask((100, 0), PROMPT, 0.0) == "w1"
        assert await ask((0, 1), [1, 2, 3, 4, 5, 6], 1.0) == ("w0" if not ttl else "w1")
        assert await ask((0, 9), [1, 2, 3, 4, 5, 6], 2.0) == "w0"
        assert scene.policy.outcomes["session"] == (1 if ttl else 0)
        assert await ask((100, 0), PROMPT, 3.0) == "w1"
        assert await ask((0, 1), [1, 2, 3, 4, 5, 6], 20.0) == "w0"
        assert await ask((100, 0), PROMPT, 21.0) == "w1"
        scene.policy.finish_session("s")
        assert await ask((0, 1), [1, 2, 3, 4, 5, 6], 22.0) == "w0"

    play(act, Settings(policy="kv_aware", kv_session_ttl=ttl))


def test_tokens_count_by_where_they_are() -> None:
    keys = [11, 12, 13, 14, 15]
    copy = Copy("w", 1, Life(1, 1), 1, SIZE)
    assert credit_of(copy, keys, CREDITS) == 20
    assert credit_of(copy, [], CREDITS) == 0
    copy.lower = {12: TIER_HOST, 14: TIER_EXTERNAL, 15: TIER_DISK}
    assert credit_of(copy, keys, CREDITS) == pytest.approx(SIZE * (1 + 0.8 + 1 + 0.6 + 0.3))


def test_what_is_behind_a_gap_does_not_count() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT[:8])
        scene.holds("w1", PROMPT)
        scene.drops("w1", PROMPT, 1)
        assert (await scene.pick(fleet(0, 0), request())).id == "w0"

    play(act)


def test_of_many_that_hold_the_same_all_get_some() -> None:
    async def act(scene: Scene) -> None:
        workers = fleet(*[0.0] * 40)
        for one in workers:
            scene.holds(one.id, PROMPT[:8])
        scene.holds("w7", PROMPT)
        assert {(await scene.pick(workers, request(PROMPT[:11]))).id for _ in range(400)} > {"w0", "w39", "w20"}
        assert (await scene.pick(workers, request())).id == "w7"

    play(act, workers=40)


def test_the_least_loaded_of_many_holders_counts_what_it_holds() -> None:
    async def act(scene: Scene) -> None:
        workers = fleet(*[9.0] * 39, 0.0)
        for one in workers:
            scene.holds(one.id, PROMPT[:8])
        scene.policy._queues.mean = 20.0
        why = Why()
        # A request there counts for 3: 32 + 0 against 32 + 27.
        assert (await scene.pick(workers, request(), why)).id == "w39"
        assert [choice.score for choice in why.choices[:2]] == [32.0, 59.0]
        assert scene.policy.outcomes == {"prefix_hit": 1}

    play(act, workers=40)


def test_penalties_are_settings() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT[:20], tier=TIER_DISK)
        scene.holds("w1", PROMPT[:12])
        assert (await scene.pick(fleet(0, 0), request())).id == "w1"
        scene.use(replace(scene.settings, kv_credits=(1.0, 1.0, 1.0, 1.0)))
        assert (await scene.pick(fleet(0, 0), request())).id == "w0"

    play(act)


def test_it_conforms() -> None:
    check_policy(KvAware)


def test_a_prompt_key_is_read_once_for_all_attempts() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT)
        scene.holds("w1", PROMPT[:8])
        prepared = await _prepared(scene)
        asked = SampleRequest(path="/v1/completions", prepared=prepared)
        workers = fleet(0, 0, 0)
        assert scene.policy.pick(workers, asked).id == "w0"
        assert scene.policy.pick(workers[1:], asked).id == "w1"

    play(act)


async def _prepared(scene: Scene) -> PromptKeys:
    preparing = scene.policy.prepare(request())
    assert preparing is not None
    return await preparing


def test_a_standing_without_a_source_takes_its_blocks_away() -> None:
    async def act(scene: Scene) -> None:
        scene.holds("w0", PROMPT)
        scene.kv.take(KvStanding(STAMP, ()))
        await scene.pick(fleet(0, 0), request())
        assert scene.policy.outcomes == {"no_events": 1}

    play(act)


def test_what_is_left_to_compute_is_told_of_the_candidates_alone() -> None:
    async def act(scene: Scene) -> None:
        assert await scene.uncached(fleet(0, 0), request()) == 41
        scene.holds("w0", PROMPT[:16])
        scene.holds("w1", PROMPT[:32])
        assert await scene.uncached(fleet(0, 0), request()) == len(PROMPT) - 32
        assert await scene.uncached(fleet(0, 0)[:1], request()) == len(PROMPT) - 16
        assert await scene.uncached([SampleCandidate("w9")], request()) == len(PROMPT)

    play(act)
