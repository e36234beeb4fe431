"""Flushing the caches of workers that do it, can not, or do not answer."""

from __future__ import annotations

import asyncio

import pytest

from controlplane import cache_flush
from controlplane.cache_flush import Flushed, flush_caches
from tests.unit.controlplane.fake_worker import FakeWorker

VLLM, OTHER = "/reset_prefix_cache", "/flush_cache"


def test_each_is_asked_once_by_the_path_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_flush, "FLUSH_WITHIN", 2.0)

    async def run() -> None:
        workers = [FakeWorker() for _ in range(6)]
        vllm, other, neither, broken, hanging, dead = workers
        for worker in workers:
            await worker.start()
        vllm.answers[VLLM] = other.answers[OTHER] = (200, b"")
        broken.answers[VLLM] = (500, b"")
        hanging.hangs.add(VLLM)
        await dead.stop()
        told = await flush_caches([worker.url for worker in workers])
        assert told.flushed == (vllm.url, other.url)
        assert told.failed.keys() == {worker.url for worker in (neither, broken, hanging, dead)}
        assert "VLLM_SERVER_DEV_MODE=1" in told.failed[neither.url]
        assert told.failed[broken.url] == "status 500"
        assert told.failed[hanging.url].startswith("no answer within 2 s")
        assert told.failed[dead.url] == "connection refused"
        assert (vllm.seen, other.seen) == ({VLLM: 1}, {VLLM: 1, OTHER: 1})
        for worker in workers[:-1]:
            await worker.stop()

    asyncio.run(run())


def test_without_workers_all_is_flushed() -> None:
    assert asyncio.run(flush_caches([])) == Flushed(flushed=(), failed={})


def test_many_are_asked_a_few_at_a_time_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_flush, "FLUSH_WITHIN", 0.3)
    monkeypatch.setattr(cache_flush, "_AT_ONCE", 4)

    async def run() -> None:
        worker = FakeWorker()
        await worker.start()
        worker.hangs.add(VLLM)
        told = await flush_caches([worker.url] * 100)
        assert list(told.failed) == [worker.url]
        assert worker.seen[VLLM] == 4
        await worker.stop()

    asyncio.run(run())
