"""vllm-router's `/get_server_info` and the like: the first worker that can take them answers."""

from __future__ import annotations

import pytest

from dataplane.app import PlaneApplication
from dataplane.client import Client
from shared.table import Worker
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.forward_bench import Bench, Run, well, workers
from tests.unit.dataplane.listening import refusing_port


@pytest.mark.parametrize("path", ["/get_server_info", "/get_model_info", "/health_generate"])
def test_the_first_worker_answers_each_time_and_the_next_if_it_can_not(run: Run, path: str) -> None:
    async def ask(bench: Bench) -> bytes:
        transaction = FakeTransaction(method="GET", path=path, headers=[(b"x-request-id", b"mine")])
        bench.transactions.append(transaction)
        PlaneApplication(bench.forwarder).handle(Client(transaction))
        transaction.give(b"")
        await bench.ended(transaction)
        assert transaction.header(b"x-request-id") == b"mine"
        return transaction.body

    async def test(bench: Bench) -> None:
        async with workers(well, well) as (first, second):
            bench.serve(first.url, second.url)
            for _ in range(4):
                assert await ask(bench) == b"well"
            assert bench.accounting.worker_requests == {"a": 4}
            with refusing_port() as port:
                refusing = Worker(id="refusing", url=f"http://127.0.0.1:{port}", state="ready")
                bench.serve_workers(refusing, Worker(id="b", url=second.url, state="ready"))
                assert await ask(bench) == b"well"
            assert bench.accounting.retries.total() == 1

    run(test)
