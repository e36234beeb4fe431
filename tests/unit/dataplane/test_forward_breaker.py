"""Requests and breakers: what counts against a worker, who is left to choose, and how a probe ends."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from dataplane.upstream.connection import UpstreamConnection
from dataplane.upstream.pool import Pool
from shared.table import Breaker, Worker
from tests.unit.dataplane.forward_bench import Bench, Run, close_at_once, hang, well, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked, Script

BUSY = b"retry-after: 1\r\n"


def answering(status: int, fields: bytes = b"") -> Script:
    async def script(asked: Asked) -> None:
        await asked.answer(b"x", status=status, fields=fields)

    return script


def break_(bench: Bench, breaker: Breaker | None) -> None:
    """Have the table say this of the first worker's breaker."""
    first: Worker = bench._workers[0]
    bench._workers[0] = msgspec.structs.replace(first, breaker=breaker)
    bench._adopt()


@pytest.mark.parametrize("script", [answering(500), answering(504), close_at_once])
def test_a_worker_that_fails_is_out_at_its_threshold(run: Run, script: Script) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script, well) as (bad, good):
            bench.configure(cb_failure_threshold=3)
            bench.serve(bad.url, good.url)
            for _ in range(20):
                await bench.answer()
                # Else the pause after a failed connection would keep it out for longer than this test lasts.
                bench.fleet.avoidance.forget_all_but(set())
            assert len(bad.asked) == 3
            assert len(bench.evidence) == 3

    run(test)


@pytest.mark.parametrize("script", [answering(400), answering(429), answering(501), answering(503, BUSY)])
def test_g_retry_3_clients_faults_and_busy_workers_open_nothing(run: Run, script: Script) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script, well) as (worker, good):
            bench.configure(cb_failure_threshold=1)
            bench.serve(worker.url, good.url)
            for _ in range(10):
                await bench.answer()
            assert len(worker.asked) >= 5
            assert not bench.evidence

    run(test)


def test_g_break_2_if_all_fail_all_are_used(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(answering(500), answering(500)) as started:
            bench.configure(cb_failure_threshold=1)
            bench.serve(*(worker.url for worker in started))
            for _ in range(10):
                assert (await bench.answer()).status == 500
            assert [len(worker.asked) for worker in started] == [5, 5]

    run(test)


def test_an_open_one_gets_no_requests_and_a_half_open_one_one_probe_of_the_plane_that_the_table_names(run: Run) -> None:
    async def test(bench: Bench) -> None:
        go = asyncio.Event()

        async def slow(asked: Asked) -> None:
            await go.wait()
            await asked.answer(b"slow")

        async with workers(slow, well) as (probed, good):
            bench.serve(probed.url, good.url)
            break_(bench, Breaker(state="open"))
            for _ in range(4):
                assert (await bench.answer()).body == b"well"
            # Another plane's probe.
            break_(bench, Breaker(state="half-open", plane="other"))
            assert (await bench.answer()).body == b"well"
            assert len(probed.asked) == 0
            break_(bench, Breaker(state="half-open", plane=""))
            bench.fleet.stale = False
            assert (await bench.answer()).body == b"well"
            assert bench.probes == [("a", 7, "wanted")]
            bench.fleet.breakers._plane = "me"
            break_(bench, Breaker(state="half-open", plane="me"))
            probe = bench.ask()
            for _ in range(4):
                assert (await bench.answer()).body == b"well"
            go.set()
            assert (await bench.ended(probe)).body == b"slow"
            assert len(probed.asked) == 1
            assert bench.probes[1:] == [("a", 7, "sent"), ("a", 7, "passed")]

    run(test)


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        (answering(500), "failed"),
        (close_at_once, "failed"),
        (answering(404), "passed"),
        (answering(429), "no-verdict"),
        (answering(503, BUSY), "no-verdict"),
    ],
)
def test_how_a_probe_ends(run: Run, script: Script, verdict: str) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script, well) as (probed, good):
            bench.serve(probed.url, good.url)
            break_(bench, Breaker(state="half-open"))
            # Nobody leads: the plane probes by itself.
            await bench.answer()
            assert len(probed.asked) == 1
            assert [news for _, _, news in bench.probes] == ["sent", verdict]

    run(test)


def test_a_probe_whose_client_leaves_has_no_verdict(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang, well) as (probed, good):
            bench.serve(probed.url, good.url)
            break_(bench, Breaker(state="half-open"))
            transaction = bench.ask()
            await until(lambda: len(probed.asked) == 1)
            transaction.leave()
            await bench.ended(transaction)
            assert [news for _, _, news in bench.probes] == ["sent", "no-verdict"]
            assert not bench.evidence

    run(test)


def test_g_edge_5_a_name_that_does_not_resolve_is_held_against_no_worker(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Pool.connect

    async def without_name_server(pool: Pool, timeout: float) -> UpstreamConnection:
        if pool._host == "bad":
            raise socket.gaierror(socket.EAI_AGAIN, "no name server")
        return await connect(pool, timeout)

    monkeypatch.setattr(Pool, "connect", without_name_server)

    async def test(bench: Bench) -> None:
        async with workers(well) as (good,):
            bench.configure(cb_failure_threshold=1)
            bench.serve("http://bad:1", good.url)
            for _ in range(4):
                assert (await bench.answer()).body == b"well"
            assert set(bench.evidence) == {("a", 7, "no-address")}
            assert not bench.fleet.breakers.out()

    run(test)
