"""Loading adapters at workers that do it, refuse, can not, or do not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from controlplane import adapters
from controlplane.adapters import Adapters
from controlplane.fleet_orders import obey
from shared.adapters import AdapterAnswer, AdapterOrder, AdapterProblem, AdapterReport
from shared.table import Worker
from shared.worker_attributes import NOTHING_SAID
from tests.unit.controlplane.fake_worker import FakeWorker

PATH = "/v1/load_lora_adapter"
BODY = '{"lora_name":"sql","lora_path":"/a"}'


class Members:
    """A registry of workers that are what a test says."""

    def __init__(self, *workers: Worker) -> None:
        self._workers = workers

    def members(self) -> list[Any]:
        class Member:
            def __init__(self, worker: Worker) -> None:
                self.worker = worker

        return [Member(worker) for worker in self._workers]


class Looks:
    def __init__(self) -> None:
        self.at: list[str] = []

    async def reread(self, urls: list[str], patience: float) -> None:
        assert patience > 0
        self.at += urls


def order(*workers: Worker, looks: Looks | None = None, body: str = BODY, model: str | None = None) -> Any:
    registry: Any = Members(*workers)
    prober: Any = looks
    return Adapters(registry, prober, None, None).order("load-adapter", AdapterOrder(body=body, model=model))


def test_each_worker_tells_what_became_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "WITHIN", 2.0)

    async def run() -> None:
        workers = [FakeWorker() for _ in range(5)]
        well, refusing, neither, hanging, dead = workers
        for worker in workers:
            await worker.start()
        well.answers[PATH] = (200, b"Success: LoRA adapter 'sql' added successfully.")
        refusing.answers[PATH] = (400, b'{"error":{"message":"It has already been loaded."}}')
        neither.answers[PATH] = (404, b'{"detail":"Not Found"}')
        hanging.hangs.add(PATH)
        await dead.stop()
        looks = Looks()
        # Ranks of one server are one server.
        records = [Worker(id=f"{one.url}@{rank}", url=one.url) for one in workers for rank in range(2)]
        report = await order(*records, looks=looks)
        assert report.done == (well.url,)
        assert report.status == 502
        assert report.failed[refusing.url] == "status 400: It has already been loaded."
        assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in report.failed[neither.url]
        assert report.failed[hanging.url].startswith("no answer within")
        assert report.failed[dead.url] == "connection refused"
        assert looks.at == [well.url]
        assert well.seen[PATH] == 1
        for worker in workers[:-1]:
            await worker.stop()

    asyncio.run(run())


def test_only_workers_of_the_model_are_asked() -> None:
    async def run() -> None:
        one, other = FakeWorker(), FakeWorker()
        for worker in (one, other):
            await worker.start()
            worker.answers[PATH] = (200, b"")
        records = (Worker(id="a", url=one.url, models=("m",)), Worker(id="b", url=other.url, models=("n",)))
        assert await order(*records, model="m") == AdapterReport(done=(one.url,), failed={})
        nobody = await order(*records, model="x")
        assert isinstance(nobody, AdapterProblem)
        assert (nobody.code, nobody.status) == ("adapter_for_nobody", 404)
        # It may be a name of [models], which /v1/models lists.
        assert "by that name" in nobody.message
        assert other.seen[PATH] == 0
        for worker in (one, other):
            await worker.stop()

    asyncio.run(run())


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"lora_name":5}'])
def test_a_body_without_an_adapter_is_passed_on_to_nobody(body: str) -> None:
    problem = asyncio.run(order(Worker(id="a", url="http://127.0.0.1:1"), body=body))
    assert (problem.code, problem.status) == ("bad_adapter", 400)


@pytest.mark.parametrize(
    "came",
    [AdapterReport(done=("a",), failed={"b": "no"}), AdapterProblem(code="bad_adapter", message="no")],
)
def test_a_plane_is_told_what_came_of_it(came: AdapterReport | AdapterProblem) -> None:
    async def asked(verb: str, given: AdapterOrder) -> AdapterReport | AdapterProblem:
        assert (verb, given) == ("unload-adapter", AdapterOrder(body=BODY, model="m"))
        return came

    nobody: Any = None
    sent = msgspec.json.encode(AdapterOrder(body=BODY, model="m")).decode()
    _, message = asyncio.run(obey(nobody, nobody, asked, "unload-adapter", sent, NOTHING_SAID))
    told = msgspec.json.decode(message, type=AdapterAnswer)
    assert came in (told.report, told.problem)
