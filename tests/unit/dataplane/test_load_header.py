"""The load in an answer's head: read, taken out, and asked for where what is known is old."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.load_header import FIGURES, QueueFigures, may_ask, read, taken_out
from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad
from shared.routes import route_of
from tests.unit.dataplane.forward_bench import Bench, Run, workers
from tests.unit.dataplane.scripted_worker import Asked
from tests.unit.dataplane.test_fleet import TestFleet, table, with_fleet, worker

CAPTURE = Path(__file__).parents[2] / "compat" / "captures" / "completion_load_header.http"
BUSY = b"TEXT named_metrics.num_requests_waiting=3.0, named_metrics.kv_cache_usage_perc=0.75"
ASKED = b"endpoint-load-metrics-format"


def test_what_vllm_wrote() -> None:
    (line,) = (line for line in CAPTURE.read_bytes().split(b"\r\n") if line.startswith(FIGURES))
    assert read(line.partition(b": ")[2]) == QueueFigures(0.0, 0.0)


@pytest.mark.parametrize(
    ("value", "figures"),
    [
        (BUSY, QueueFigures(3.0, 0.75)),
        (
            b"TEXT named_metrics.kv_cache_usage_perc=0.1, named_metrics.num_requests_waiting=1.0, "
            b"named_metrics.kv_cache_usage_perc=0.5, named_metrics.num_requests_waiting=2.0",
            QueueFigures(3.0, 0.5),
        ),
        (b"TEXT named_metrics.num_requests_waiting=1e1, named_metrics.kv_cache_usage_perc=7", QueueFigures(10.0, 1.0)),
        (b'JSON {"named_metrics": {"num_requests_waiting": 1.0, "kv_cache_usage_perc": 0.5}}', None),
        (b"TEXT named_metrics.num_requests_waiting=1.0", None),
        (b"TEXT named_metrics.num_requests_waiting=-1.0, named_metrics.kv_cache_usage_perc=0.5", None),
        (b"TEXT named_metrics.num_requests_waiting=1e999, named_metrics.kv_cache_usage_perc=0.5", None),
        (b"TEXT named_metrics.num_requests_waiting=e, named_metrics.kv_cache_usage_perc=0.5", None),
        (b"", None),
    ],
)
def test_figures(value: bytes, figures: QueueFigures | None) -> None:
    assert read(value) == figures


@given(st.binary(max_size=200))
def test_nothing_that_a_worker_writes_breaks_it(value: bytes) -> None:
    figures = read(b"TEXT named_metrics.num_requests_waiting=" + value)
    assert figures is None or figures.waiting >= 0


def test_it_is_taken_out_and_nothing_else() -> None:
    headers = [(b"a", b"1"), (FIGURES, BUSY), (b"b", b"2")]
    assert taken_out(headers) == QueueFigures(3.0, 0.75)
    assert headers == [(b"a", b"1"), (b"b", b"2")]
    assert taken_out(headers) is None
    assert headers == [(b"a", b"1"), (b"b", b"2")]


def test_only_where_vllm_answers_and_the_client_has_not_asked() -> None:
    assert may_ask(route_of("/v1/chat/completions"), {})
    assert not may_ask(route_of("/v1/embeddings"), {})
    assert not may_ask(route_of("/v1/completions"), {ASKED: b"JSON"})


def test_an_answer_tells_of_the_queue_and_the_last_reading_of_what_runs() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")]))
        slot = fleet.slot("a")
        slot.set_engine(WorkerLoad(10.0, 0.0, 0.5, 1.0), fleet.time)
        assert slot.load() == 10
        slot.set_queue(QueueFigures(4.0, 1.0), fleet.time)
        assert slot.load() == 14 + 6 * 4 * 0.5
        # A reading that is older than the answer has news of what runs only.
        slot.set_engine(WorkerLoad(12.0, 0.0, 0.5, 0.5), fleet.time)
        assert slot.load() == 16 + 6 * 4 * 0.5
        fleet.time += 1
        slot.set_engine(WorkerLoad(3.0, 0.0, 0.5, 0.5), fleet.time)
        assert slot.load() == 3

    with_fleet(test)


def test_what_runs_is_not_kept_for_ever() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")]))
        slot = fleet.slot("a")
        slot.set_engine(WorkerLoad(10.0, 0.0, 0.5, 0.0), fleet.time)
        fleet.time += LOAD_UNKNOWN_AFTER
        slot.set_queue(QueueFigures(4.0, 0.5), fleet.time)
        assert slot.load() == 4
        assert slot.engine_requests(fleet.time) is None
        fleet.time += LOAD_UNKNOWN_AFTER + 0.1
        assert slot.load() == 0

    with_fleet(test)


def test_a_worker_is_asked_when_what_is_known_is_half_a_second_old() -> None:
    def test(fleet: TestFleet) -> None:
        fleet.adopt(table([worker("a")]))
        slot = fleet.slot("a")
        assert slot.asks_for_load(100.0)
        assert not slot.asks_for_load(100.4)
        slot.set_engine(WorkerLoad(1.0, 0.0, 0.0, 0.2), 100.4)
        assert not slot.asks_for_load(100.6)
        assert slot.asks_for_load(100.8)
        slot.set_queue(QueueFigures(0.0, 0.0), 101.0)
        assert not slot.asks_for_load(101.4)
        assert slot.asks_for_load(101.6)

    with_fleet(test)


async def telling(asked: Asked) -> None:
    await asked.answer(b"x", fields=b"endpoint-load-metrics: %b\r\n" % BUSY)


def test_the_router_keeps_what_it_asked_for(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(telling) as (worker,):
            bench.serve(worker.url)
            answer = await bench.answer()
            assert answer.header(FIGURES) is None
            assert worker.asked[0].field(ASKED) == b"TEXT"
            (slot,) = bench.fleet.view.ready
            assert slot.load() == 3 + 6 * 3 * 0.25
            # It is fresh: the next request asks for nothing, and what comes unasked is the client's.
            assert (await bench.answer()).header(FIGURES) == BUSY
            assert worker.asked[1].field(ASKED) is None

    run(test)


def test_a_client_that_asks_gets_it(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(telling) as (worker,):
            bench.serve(worker.url)
            answer = await bench.answer(headers=[(ASKED, b"TEXT")])
            assert answer.header(FIGURES) == BUSY
            assert [value for name, value in worker.asked[0].fields if name == ASKED] == [b"TEXT"]

    run(test)


def test_it_can_be_switched_off(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(telling) as (worker,):
            bench.configure(load_header=False)
            bench.serve(worker.url)
            assert (await bench.answer()).header(FIGURES) == BUSY
            assert worker.asked[0].field(ASKED) is None

    run(test)
