"""`scripts/bench policies --cost`: what one choice costs a plane, by policy and kind of request."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dataplane.accounting import Accounting
from dataplane.fleet import Fleet
from dataplane.policies import PlaneView, lead, policy_class
from dataplane.policies.conformance import SampleRequest
from shared.messages import LoadReport, WorkerLoad
from shared.table import ModelCard, Worker, make_table

MODEL = "m"
_PROMPT = 32 * 1024
_AT_ONCE = 5
_ROUNDS = 2000
"""Short rounds, and many: on a busy machine some of them are not disturbed, and the least is what a choice costs."""


@dataclass(frozen=True)
class Cost:
    """Microseconds of one choice among so many workers."""

    policy: str
    request: str
    workers: int
    micros: float


def measure(policies: Sequence[str], workers: int) -> list[Cost]:
    """Return what choices cost. Candidates are a plane's own, with loads as engines tell them."""

    async def run() -> list[Cost]:
        fleet = _fleet(workers)
        try:
            return [
                Cost(policy, kind, workers, _least(_choice(fleet, policy, request)))
                for policy in policies
                for kind, request in _requests().items()
            ]
        finally:
            fleet.close()

    return asyncio.run(run())


def render(costs: Sequence[Cost]) -> str:
    """Return the table for documents."""
    kinds = list(dict.fromkeys(one.request for one in costs))
    by_policy: dict[str, dict[str, float]] = {}
    for one in costs:
        by_policy.setdefault(one.policy, {})[one.request] = one.micros
    lines = [f"| us among {costs[0].workers:,} workers | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    lines += [
        f"| {policy} | {' | '.join(f'{found[kind]:.1f}' for kind in kinds)} |" for policy, found in by_policy.items()
    ]
    return "\n".join(lines)


def _fleet(count: int) -> Fleet:
    fleet = Fleet(Accounting(), plane_slot=0, rng=random.Random(1))
    fleet.stale = False
    urls = [f"http://10.0.{number // 250}.{number % 250}:8000" for number in range(count)]
    workers = [Worker(id=url, url=url, state="ready", models=(MODEL,)) for url in urls]
    table = make_table(epoch=1, version=1, workers=workers, models=[ModelCard(id=MODEL, card=b"{}")])
    fleet.adopt(table)
    loads = {url: WorkerLoad(float(number % 7), 0.0, 0.3, 0.1) for number, url in enumerate(urls)}
    fleet.take_load(LoadReport(table.stamp, 1, loads))
    return fleet


def _requests() -> Mapping[str, SampleRequest]:
    rng = random.Random(1)
    text = " ".join("".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(8000))[:_PROMPT]
    turns = [text[start : start + 1024] for start in range(0, _PROMPT, 1024)]
    conversation = [{"role": ("user", "assistant")[number % 2], "content": turn} for number, turn in enumerate(turns)]

    def ask(path: str, **body: object) -> SampleRequest:
        return SampleRequest(MODEL, path, body=json.dumps({"model": MODEL, **body}).encode())

    session = SampleRequest(MODEL, fields={b"x-session-id": b"42"}, body=b"{}")
    return {
        "session": session,
        "prompt of 32 KB": ask("/v1/completions", prompt=text),
        "chat, 32 KB in one message": ask("/v1/chat/completions", messages=[{"role": "user", "content": text}]),
        "chat, 32 KB in 32 messages": ask("/v1/chat/completions", messages=conversation),
    }


def _choice(fleet: Fleet, name: str, request: SampleRequest) -> Callable[[], object]:
    policy = policy_class(name)(PlaneView(0, random.Random(1)))
    lead(policy, fleet.view.table)
    candidates = fleet.view.candidates(MODEL)
    # Its session or prompt is known, as that of most requests.
    policy.pick(candidates, request)
    return lambda: policy.pick(candidates, request)


def _least(choose: Callable[[], object]) -> float:
    least = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(_AT_ONCE):
            choose()
        least = min(least, time.perf_counter() - began)
    return least / _AT_ONCE * 1e6
