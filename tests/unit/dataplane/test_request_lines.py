"""What a plane tells of its open and last requests."""

from __future__ import annotations

from math import inf

from dataplane.receipts import MAX_TEXT
from shared.request_lines import RequestLines
from shared.table import Worker
from tests.unit.dataplane.forward_bench import Bench, Run, begin_and_hang, hang, well, workers
from tests.unit.dataplane.listening import refusing_port, until


def lines(bench: Bench, most: int = 10, *, troubled: bool = False) -> RequestLines:
    return bench.forwarder.request_lines(most, troubled=troubled, plane="gpu-b/3", wall=1000.0)


def test_open_requests_tell_where_they_are(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            sending = bench.ask(None)
            waiting = bench.ask()
            await until(lambda: [one.phase for one in lines(bench).open] == ["receiving", "waiting"])
            told = lines(bench)
            assert (told.active, told.ended) == (2, ())
            assert [one.workers for one in told.open] == [(), ("a",)]
            assert {(one.plane, one.method, one.path, one.outcome) for one in told.open} == {
                ("gpu-b/3", "POST", "/v1/completions", "")
            }
            assert told.open[1].model == "m"
            assert 0 < told.open[0].arrived <= told.open[1].arrived <= 1000.0
            assert len(lines(bench, 1).open) == 1
            for transaction in (sending, waiting):
                transaction.leave()
            await bench.settle()
            ended = lines(bench).ended
            assert {one.outcome for one in ended} == {"aborted by client"}
            assert {one.phase for one in ended} == {""}

    run(test)


def test_an_open_request_that_is_answered_tells_when_its_first_part_came(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(begin_and_hang) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: [one.phase for one in lines(bench).open] == ["answering"])
            (line,) = lines(bench).open
            assert line.first_byte is not None
            # Both are rounded to milliseconds.
            assert 0 <= line.first_byte < 1000.0 - line.arrived + 0.002
            transaction.leave()
            await bench.settle()

    run(test)


def test_ended_requests_are_told_the_newest_first_and_those_with_trouble_apart(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            with refusing_port() as port:
                bench.serve(f"http://127.0.0.1:{port}", worker.url)
                await bench.answer()
            # The one that could not be reached is avoided, for longer than a busy machine takes.
            bench.fleet.avoidance.until = dict.fromkeys(bench.fleet.avoidance.until, inf)
            await bench.answer(path="/v1/chat/completions")
            newest, oldest = lines(bench).ended
            assert (newest.outcome, newest.status, newest.workers) == ("answered", 200, ("b",))
            assert oldest.workers == ("a", "b")
            assert (newest.failed, oldest.failed) == (0, 1)
            assert oldest.first_byte is not None
            assert oldest.ended is not None
            assert 0 <= oldest.first_byte <= oldest.ended
            assert [one.workers for one in lines(bench, troubled=True).ended] == [("a", "b")]
            assert len(lines(bench, 1).ended) == 1

    run(test)


def test_what_clients_did_wrong_is_no_trouble_and_pushes_none_out(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.forwarder.receipts.resize(4)
        with refusing_port() as port:
            bench.serve(f"http://127.0.0.1:{port}")
            await bench.answer()
        for number in range(5):
            await bench.answer(b'{"model":"nobody"}', headers=[(b"x-request-id", b"wrong-%d" % number)])
        assert {one.outcome for one in lines(bench).ended} == {"rejected model_not_found"}
        assert [one.outcome for one in lines(bench, troubled=True).ended] == ["rejected workers_unreachable"]
        # They are remembered for longer than all, too.
        async with workers(well) as (worker,):
            bench.serve_workers(Worker(id="good", url=worker.url, state="ready", models=("m",)))
            for _ in range(4):
                await bench.answer()
        assert {one.outcome for one in lines(bench).ended} == {"answered"}
        assert bench.forwarder.receipts.find(b"wrong-4") is not None

    run(test)


def test_what_a_client_chose_is_cut_off(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask(path="/v1/" + "x" * 3 * MAX_TEXT)
            await until(lambda: bool(lines(bench).open))
            assert len(lines(bench).open[0].path) == MAX_TEXT
            transaction.leave()
            await bench.settle()

    run(test)
