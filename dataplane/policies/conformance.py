"""What every policy must do, as a test that the author of one can run.

    from dataplane.policies.conformance import check_policy

    def test_my_policy() -> None:
        check_policy(MyPolicy)

It asks for thousands of choices over fleets of different sizes, loads and tables, and raises AssertionError with what
was wrong. It can not judge how good a choice is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dataplane.load import Figures, vllm
from dataplane.policies import lead
from dataplane.policies.base import PlaneView, Policy, Why
from shared.table import Settings, Worker, WorkerState, make_table

IDLE = Figures(0, 0.0, 0.0, 0.0, True, 1.0)
_STATES: tuple[WorkerState, ...] = ("ready", "ready", "ready", "unhealthy", "draining", "starting")
_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/tokenize")


@dataclass(frozen=True)
class SampleCandidate:
    """A worker with made-up load."""

    id: str
    epoch: int = 1
    busy: Figures = IDLE
    weight: float = 1.0
    tokens: int = 0

    def figures(self) -> Figures:
        """Return the made-up load."""
        return self.busy

    def load(self) -> float:
        """Return the made-up load in requests."""
        return vllm(self.busy)

    def prefill(self) -> int:
        """Return the made-up tokens of prompts to compute."""
        return self.tokens


@dataclass(frozen=True)
class SampleRequest:
    """A request with a made-up body."""

    model: str | None = None
    path: str = "/v1/chat/completions"
    fields: Mapping[bytes, bytes] = field(default_factory=dict)
    body: bytes | bytearray = b""
    arrived: float = 0.0
    prepared: object = None


def check_policy(kind: type[Policy], *, choices: int = 2000, seed: int = 1) -> None:
    """Raise AssertionError if a policy does what none may do; `choices` is how many are asked for."""
    rng = random.Random(seed)
    planes = 3
    policies = [kind(PlaneView(slot, random.Random(slot))) for slot in range(planes)]
    epochs: dict[str, int] = {}
    for number in range(choices):
        if number % 100 == 0:
            offered = _new_table(rng, policies, epochs, version=number + 1)
        candidates = rng.sample(offered, rng.randint(1, len(offered)))
        request = _request(rng, arrived=number / 10)
        _check_choice(policies[number % planes], candidates, request, Why() if number % 2 else None)


def _check_choice(
    policy: Policy, candidates: Sequence[SampleCandidate], request: SampleRequest, why: Why | None
) -> None:
    before = tuple(candidates)
    chosen = policy.pick(candidates, request, why)
    where = f"{type(policy).__name__}.pick"
    _require(any(chosen is one for one in before), f"{where} returned {chosen!r}, which is none of the candidates")
    _require(tuple(candidates) == before, f"{where} changed its candidates")
    _require(policy.expected >= 0, f"{where} expects {policy.expected} tokens to be computed")
    if why is None:
        return
    _require(bool(why.choices), f"{where} gave no reason although it was asked for one (why.add)")
    _require(why.choices[0].worker == chosen.id, f"{where} named another worker first than the one it returned")
    names = [choice.worker for choice in why.choices]
    known = {one.id for one in before}
    _require(set(names) <= known, f"{where} gave reasons for workers that were no candidates")
    _require(len(names) == len(set(names)), f"{where} named a worker twice")
    _require(all(choice.reason for choice in why.choices), f"{where} gave an empty reason")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def _new_table(
    rng: random.Random, policies: Sequence[Policy], epochs: dict[str, int], *, version: int
) -> list[SampleCandidate]:
    """Have the policies follow a fleet of another size, some of whose workers were restarted."""
    workers = []
    weights = rng.choice(((1.0,), (0.5, 1.0, 3.0)))
    for number in range(rng.choice((1, 2, 3, 8, 40))):
        name = f"http://worker-{number}:8000"
        epochs[name] = epochs.get(name, 0) + (rng.random() < 0.2 or name not in epochs)
        state = _STATES[number % len(_STATES)]
        weight = rng.choice(weights)
        workers.append(Worker(id=name, url=name, epoch=epochs[name], state=state, models=("m", "n"), weight=weight))
    table = make_table(epoch=1, version=version, workers=workers, settings=Settings(data_planes=len(policies)))
    for policy in policies:
        lead(policy, table)
    ready = [worker for worker in workers if worker.state == "ready"]
    return [
        SampleCandidate(worker.id, worker.epoch, _figures(rng), worker.weight, rng.choice((0, 0, 100, 100_000)))
        for worker in ready
    ]


def _figures(rng: random.Random) -> Figures:
    known = rng.random() < 0.8
    inflight = rng.choice((0, 0, 1, 5, 200))
    if not known:
        return Figures(inflight, 0.0, 0.0, 0.0, False, 1.0)
    return Figures(inflight, float(rng.randint(0, 50)), float(rng.randint(0, 9)), rng.random(), True, 1.0)


def _request(rng: random.Random, *, arrived: float) -> SampleRequest:
    fields = {b"x-session-id": b"s%d" % rng.randint(0, 9)} if rng.random() < 0.3 else {}
    text = rng.choice("abcdef") * rng.choice((0, 10, 1000, 40_000))
    body: dict[str, object] = {"model": "m", "prompt": text, "messages": [{"role": "user", "content": text}]}
    if rng.random() < 0.3:
        body["user"] = rng.choice(("u", 7, None, ["x"]))
    odd = rng.choice((b"", b"{", b"\x00\xff", b"[1]", b'{"messages": 5, "prompt": [[1], 2]}', None, None, None))
    encoded = json.dumps(body).encode() if odd is None else odd
    return SampleRequest(rng.choice(("m", "n", None)), rng.choice(_PATHS), fields, encoded, arrived)
