"""Scripted prefill and decode workers behind a forwarder."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.table import Role, Worker
from shared.transfer import Transfer
from tests.unit.dataplane.forward_bench import Bench
from tests.unit.dataplane.scripted_worker import Asked, Script, ScriptedWorker

BODY = b'{"model":"m", "prompt":"x","stream":true, "max_tokens":5}'


class Pair:
    """Prefill and decode workers, and what they were asked."""

    def __init__(self, prefill: list[ScriptedWorker], decode: list[ScriptedWorker]) -> None:
        self.prefill = prefill
        self.decode = decode

    def serve(self, bench: Bench, transfers: dict[str, Transfer] | None = None) -> None:
        self.serve_urls(bench, [one.url for one in self.prefill], [one.url for one in self.decode], transfers)

    def serve_urls(
        self, bench: Bench, prefill: list[str], decode: list[str], transfers: dict[str, Transfer] | None = None
    ) -> None:
        """Serve from these; `transfers` by the workers' ids, p0, p1 ..., d0, d1 ..."""
        roles: dict[Role, list[str]] = {"prefill": prefill, "decode": decode}
        bench.serve_workers(
            *(
                Worker(
                    id=f"{role[0]}{number}",
                    url=url,
                    role=role,
                    state="ready",
                    models=("m",),
                    transfer=(transfers or {}).get(f"{role[0]}{number}"),
                )
                for role, urls in roles.items()
                for number, url in enumerate(urls)
            )
        )

    def handoffs(self) -> list[str | None]:
        """The number of each handoff that a decode worker got, in the order of the workers."""
        bodies = [json.loads(asked.body) for worker in self.decode for asked in worker.asked]
        return [(body.get("kv_transfer_params") or {}).get("remote_request_id") for body in bodies]


_given = 0


async def hands_over(asked: Asked) -> None:
    global _given
    _given += 1
    told = {
        "do_remote_prefill": True, "remote_block_ids": [[1]], "remote_engine_id": "e", "remote_host": "h",
        "remote_request_id": f"handoff {_given}", "remote_port": 1,
    }  # fmt: skip
    assert json.loads(asked.body)["kv_transfer_params"]["do_remote_decode"] is True
    await asked.answer(json.dumps({"choices": [], "kv_transfer_params": told}).encode())


def answers(status: int, fields: bytes = b"", body: bytes = b"no") -> Script:
    async def script(asked: Asked) -> None:
        await asked.answer(body, status=status, fields=fields)

    return script


def first(*scripts: Script) -> Script:
    """One script after the other, the last one for ever."""
    left = list(scripts)

    async def script(asked: Asked) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(asked)

    return script


@asynccontextmanager
async def pair(prefill: list[Script], decode: list[Script]) -> AsyncIterator[Pair]:
    workers = [ScriptedWorker(script) for script in (*prefill, *decode)]
    for worker in workers:
        await worker.start()
    found = Pair(workers[: len(prefill)], workers[len(prefill) :])
    try:
        yield found
        used = [handoff for handoff in found.handoffs() if handoff is not None]
        assert len(used) == len(set(used)), "a handoff was used twice"
    finally:
        for worker in workers:
            await worker.stop()
