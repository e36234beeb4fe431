"""Requests that the router ends: their time is up, or the plane ends."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest

from dataplane.request import Interruption
from tests.unit.dataplane.forward_bench import (
    BODY,
    Bench,
    Run,
    error_of,
    hang,
    workers,
)
from tests.unit.dataplane.listening import blackhole_port, until
from tests.unit.dataplane.scripted_worker import Asked


@pytest.mark.parametrize("by", ["timeout", "shutdown"])
@pytest.mark.parametrize("phase", ["receiving", "connecting", "thinking", "streaming", "streaming no events"])
def test_a_request_is_interrupted_in_every_phase(run: Run, by: str, phase: str) -> None:
    async def script(asked: Asked) -> None:
        if phase == "thinking":
            await asked.hang()
        await asked.begin(fields=b"" if phase == "streaming no events" else b"content-type: text/event-stream\r\n")
        await asked.chunk(b"data: first\n\n")
        await asked.hang()

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            with blackhole_port() as port:
                bench.serve(f"http://127.0.0.1:{port}" if phase == "connecting" else worker.url)
                transaction = bench.ask(None if phase == "receiving" else BODY)
                if phase == "connecting":
                    await until(lambda: bench.inflight() == 1)
                elif phase == "thinking":
                    await until(lambda: bool(worker.asked))
                elif phase != "receiving":
                    await until(lambda: len(transaction.sent) == 2)
                if by == "timeout":
                    bench.forwarder.expire()
                    assert transaction.done_calls == 0
                    bench.configure(request_timeout=0)
                    bench.forwarder.expire()
                else:
                    bench.forwarder.interrupt_all()
                # At once, not in the loop's next turn.
                assert transaction.done_calls == 1
                assert bench.inflight() == 0
                await until(lambda: worker.open == 0)
            code = "worker_timeout" if by == "timeout" else "no_worker_available"
            if not phase.startswith("streaming"):
                assert transaction.whole
                assert transaction.status == (504 if by == "timeout" else 503)
                assert error_of(transaction)["code"] == code
                assert bench.accounting.rejected == {code: 1}
            else:
                assert not transaction.whole
                assert bench.accounting.aborted == {by: 1}
                events = transaction.parts[1:]
                assert len(events) == (phase == "streaming")
                assert all(code.encode() in event for event in events)

    run(test)


def test_only_what_is_too_old_is_ended(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            old = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            loop = asyncio.get_running_loop()
            between = loop.time()
            await until(lambda: loop.time() > between)
            young = bench.ask()
            requests = list(bench.forwarder._requests)
            bench.configure(request_timeout=1000)
            requests[0].arrived -= 1001
            bench.forwarder.expire()
            assert (old.done_calls, young.done_calls) == (1, 0)
            assert old.status == 504
            bench.forwarder.interrupt_all()

    run(test)


def test_an_interruption_after_the_end_changes_nothing(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: bool(worker.asked))
            (request,) = bench.forwarder._requests
            request.interrupt("shutdown")
            sent = list(transaction.sent)
            for by in get_args(Interruption):
                request.interrupt(by)
            assert transaction.sent == sent

    run(test)
