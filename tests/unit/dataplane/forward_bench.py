"""A forwarder with a fleet, everything that was asked of it, and workers that misbehave in each way there is.

Each test ends with the same question (`Bench.settle`): has every request ended exactly once, is everything
it held given back, and do the figures add up?
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from dataplane.accounting import Accounting
from dataplane.attempts import Attempts
from dataplane.client import Client
from dataplane.client_keys import Holder
from dataplane.dial import Dial
from dataplane.fleet import Fleet
from dataplane.forward import Forwarder
from dataplane.pd.transaction import Disaggregated
from dataplane.policies.conformance import SampleRequest
from dataplane.slot import Slot
from shared.leases import Lease, LeaseGrant
from shared.plane_identity import PlaneIdentity
from shared.table import ModelCard, Settings, Stamp, Worker, WorkerState, make_table
from tests.unit.dataplane.fake_granian import FakeTransaction, Field
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked, Script, ScriptedWorker

BODY = b'{"model":"m","prompt":"x"}'


class Bench:
    """A forwarder with a fleet, and everything that was asked of it."""

    def __init__(self) -> None:
        self.accounting = Accounting()
        self.fleet = Fleet(self.accounting, plane_slot=0, rng=random.Random(1))
        self.evidence: list[tuple[str, int, str]] = []
        self.probes: list[tuple[str, int, str]] = []
        self.forwarder = Forwarder(
            self.fleet,
            self.accounting,
            self._take_evidence,
            random.Random(1),
            probe_news=lambda worker, epoch, news: self.probes.append((worker, epoch, news)),
        )
        self.transactions: list[FakeTransaction] = []
        self.faults: list[dict[str, Any]] = []
        self._version = 0
        self._granted = 0
        self._workers: list[Worker] = []
        # So that a test knows who is next.
        self._settings = Settings(policy="round_robin")
        self._slots: set[Slot] = set()

    def _take_evidence(self, worker: str, epoch: int, kind: str, requests: int, tripped: bool, status: int) -> None:
        self.evidence.append((worker, epoch, kind))

    def serve(self, *urls: str, state: WorkerState = "ready") -> None:
        """Forward to these, in this order; their ids are a, b, c ..."""
        self._workers = [
            Worker(id="abcdefgh"[number], url=url, epoch=7, state=state, models=("m",))
            for number, url in enumerate(urls)
        ]
        self._adopt()

    def serve_workers(self, *workers: Worker) -> None:
        """Forward to these records."""
        self._workers = list(workers)
        self._adopt()

    def configure(self, **settings: Any) -> None:
        self._settings = Settings(**{"policy": "round_robin"} | settings)
        self._adopt()

    def _adopt(self) -> None:
        self._version += 1
        cards = [ModelCard(id="m", card=b"{}")] if self._workers else []
        self.fleet.adopt(
            make_table(epoch=1, version=self._version, workers=self._workers, models=cards, settings=self._settings)
        )
        self._slots.update(self.fleet._slots.values())
        self.forwarder.follow(self.fleet.view.table)

    def lend(self, **amounts: int) -> None:
        """Grant these parts of the limits, as a control plane would."""
        self._granted += 1
        identity = PlaneIdentity(id="p", slot=0, pid=1, version="1", started=0.0)
        report = self.forwarder.limits.report(identity, 1, is_due=True)
        assert report is not None
        leases: dict[str, Lease | None] = {name: Lease(amount, amount) for name, amount in amounts.items()}
        self.forwarder.limits.take(LeaseGrant(Stamp(1, 1, 0), self._granted, report.seq, 0, leases))

    def skip_turn(self) -> None:
        self.fleet.view.policy.pick(self.fleet.view.ready, SampleRequest("m"))

    def inflight(self) -> int:
        return sum(slot.inflight for slot in self._slots)

    def prefill(self) -> int:
        """Tokens of prompts that are counted anywhere."""
        return sum(slot.prefills.total for slot in self._slots)

    def attempts(self) -> Attempts | None:
        """Those of the one open request."""
        (request,) = self.forwarder._requests
        assert not isinstance(request._attempts, Disaggregated)
        return request._attempts

    def pausing(self) -> bool:
        """Whether some request waits for its next attempt."""
        all_attempts = (request._attempts for request in self.forwarder._requests)
        waiting = [attempts._pending for attempts in all_attempts if isinstance(attempts, Attempts)]
        return any(pending is not None and not isinstance(pending, Dial) for pending in waiting)

    def idle(self) -> int:
        return sum(slot.pool.idle for slot in self._slots)

    def ask(
        self,
        body: bytes | None = BODY,
        *,
        method: str = "POST",
        headers: list[Field] | None = None,
        query: bytes = b"",
        path: str = "/v1/completions",
        key: Holder | None = None,
    ) -> FakeTransaction:
        """Send a request; None as the body: its end is still to come. `key` is its client's."""
        fields = [(b"x-request-id", b"mine"), *(headers or [])]
        if body:
            fields.append((b"content-length", b"%d" % len(body)))
        transaction = FakeTransaction(method=method, path=path, headers=fields, query=query)
        self.transactions.append(transaction)
        client = Client(transaction)
        client.key = key
        self.forwarder.forward(client)
        if body is not None:
            transaction.give(body)
        return transaction

    async def ended(self, transaction: FakeTransaction) -> FakeTransaction:
        await until(lambda: transaction.done_calls > 0)
        return transaction

    async def answer(self, body: bytes | None = BODY, **more: Any) -> FakeTransaction:
        return await self.ended(self.ask(body, **more))

    async def settle(self) -> None:
        """Check what must hold after any history once it is over."""
        await until(lambda: not self.forwarder._requests)
        for transaction in self.transactions:
            assert transaction.done_calls == 1
            assert not transaction.listening
            # Whoever reads on after the end must not get more of what was cut off.
            transaction.read()
        # Timers that are still to fire must find nothing to do.
        if self.forwarder._unwatched:
            await until(lambda: not self.forwarder._unwatched)
        await asyncio.sleep(0)
        for transaction in self.transactions:
            assert transaction.done_calls == 1
            assert not transaction.late
        accounting = self.accounting
        assert accounting.accepted == len(self.transactions)
        assert accounting.active == 0
        ended = accounting.finished + sum(accounting.aborted.values()) + sum(accounting.rejected.values())
        assert ended == accounting.accepted
        assert accounting.finished == sum(transaction.whole for transaction in self.transactions) - sum(
            accounting.rejected.values()
        )
        assert self.inflight() == 0
        assert {slot.inflight for slot in self._slots} <= {0}
        assert self.prefill() == 0
        assert self.forwarder.limits.waiting == 0
        assert all(quota.in_use == 0 for quota in self.forwarder.limits.gate.quotas.values())
        assert not self.faults


Test = Callable[[Bench], Awaitable[None]]


Run = Callable[[Test], None]


@contextlib.asynccontextmanager
async def workers(*scripts: Script) -> AsyncIterator[list[ScriptedWorker]]:
    started = [ScriptedWorker(script) for script in scripts]
    for worker in started:
        await worker.start()
    try:
        yield started
    finally:
        for worker in started:
            await worker.stop()


def error_of(transaction: FakeTransaction) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(transaction.body)["error"]
    return error


# --- scripts ---------------------------------------------------------------------------------------------


async def well(asked: Asked) -> None:
    await asked.answer(b"well", fields=b"x-worker: 1\r\nX-Request-Id: the workers\r\n")


async def stream(asked: Asked) -> None:
    await asked.begin()
    for number in range(5):
        await asked.chunk(b"data: %d\n\n" % number)
    await asked.end()


async def close_at_once(asked: Asked) -> None:
    await asked.close()


async def reset_at_once(asked: Asked) -> None:
    await asked.reset()


async def hang(asked: Asked) -> None:
    await asked.hang()


async def begin_and_hang(asked: Asked) -> None:
    await asked.begin()
    await asked.chunk(b"data: first\n\n")
    await asked.hang()


async def half_a_small_answer(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await asked.close()


async def half_a_head(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 200 OK\r\ncontent-")
    await asked.close()


async def an_interim_answer_only(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 102 Processing\r\n\r\n")
    await asked.close()


async def garbage(asked: Asked) -> None:
    await asked.write(b"this is no HTTP\r\n\r\n")
    await asked.hang()


FLOOD = 400
CHUNK = b"x" * 10_000


async def flood(asked: Asked) -> None:
    await asked.begin()
    for number in range(FLOOD):
        await asked.chunk(b"%06d" % number + CHUNK)
    await asked.end()


async def truncated_by_garbage(asked: Asked) -> None:
    await asked.write(b"no chunk size\r\n")
    await asked.hang()
