import pytest

from dataplane.client_rank import client_rank
from shared.errors import RouterError
from shared.table import Worker
from tests.unit.dataplane.forward_bench import Bench, Run, error_of, well, workers
from tests.unit.dataplane.listening import refusing_port
from tests.unit.dataplane.scripted_worker import Asked

HEADER = b"x-data-parallel-rank"
TWO = frozenset({0, 1})


def asks(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), *((HEADER, value) for value in values)]


def ranks(url: str, *numbers: int) -> list[Worker]:
    return [Worker(id=f"{url}@{rank}", url=url, rank=rank, state="ready", models=("m",)) for rank in numbers]


def test_a_rank_that_there_is_counts() -> None:
    assert client_rank(asks(b" 1 "), TWO, refused=False) == 1
    assert client_rank(asks(), TWO, refused=True) is None


def test_without_ranks_the_field_means_nothing() -> None:
    assert client_rank(asks(b"7", b"x"), frozenset(), refused=True) is None


@pytest.mark.parametrize("values", [(b"2",), (b"-1",), (b"x",), (b"",), (b"0", b"0"), (b"9" * 5000,), ("²".encode(),)])
def test_what_names_no_rank_is_refused(values: tuple[bytes, ...]) -> None:
    with pytest.raises(RouterError) as refused:
        client_rank(asks(*values), TWO, refused=False)
    assert (refused.value.status, refused.value.code) == (400, "unknown_rank")


def test_any_rank_may_be_refused() -> None:
    with pytest.raises(RouterError) as refused:
        client_rank(asks(b"1"), TWO, refused=True)
    assert refused.value.code == "rank_refused"


def test_a_request_names_the_rank_of_its_worker_once(run: Run) -> None:
    seen: list[list[bytes]] = []

    async def noting(asked: Asked) -> None:
        seen.append([value for name, value in asked.fields if name == HEADER])
        await asked.answer(b"well")

    async def test(bench: Bench) -> None:
        async with workers(noting) as (one,):
            bench.serve_workers(*ranks(one.url, 0, 1))
            for _ in range(2):
                await bench.answer()
            for _ in range(3):
                await bench.answer(headers=[(HEADER, b"1")])
            assert seen == [[b"0"], [b"1"], [b"1"], [b"1"], [b"1"]]
            refused = await bench.answer(headers=[(HEADER, b"2")])
            assert (refused.status, error_of(refused)["code"]) == (400, "unknown_rank")
            seen.clear()
            # Without ranks a client's field is its own business.
            bench.serve(one.url)
            await bench.answer(headers=[(HEADER, b"7")])
            await bench.answer()
            assert seen == [[b"7"], []]

    run(test)


def test_a_rank_that_is_not_ready_is_no_reason_to_take_another(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (one,):
            first, second = ranks(one.url, 0, 1)
            bench.serve_workers(first, Worker(id=second.id, url=one.url, rank=1, state="unhealthy", models=("m",)))
            refused = await bench.answer(headers=[(HEADER, b"1")])
            assert (refused.status, error_of(refused)["code"]) == (503, "no_worker_available")
            assert "rank 1" in error_of(refused)["message"]
            assert bench.accounting.worker_requests == {}

    run(test)


def test_a_server_that_can_not_be_reached_is_avoided_with_all_its_ranks(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (good,):
            with refusing_port() as port:
                dead = f"http://127.0.0.1:{port}"
                bench.serve_workers(*ranks(dead, 0, 1, 2), *ranks(good.url, 0))
                for _ in range(4):
                    assert (await bench.answer()).body == b"well"
            assert bench.accounting.worker_requests == {f"{dead}@0": 1, f"{good.url}@0": 4}
            assert {slot.id for slot in bench.fleet.avoidance.until} == {f"{dead}@{rank}" for rank in range(3)}
            # Whoever answers clears the whole server.
            (slot,) = (slot for slot in bench.fleet.view.ready if slot.id == f"{dead}@2")
            bench.fleet.reached(slot)
            assert not bench.fleet.avoidance

    run(test)


def test_an_engines_errors_are_its_own(run: Run) -> None:
    async def failing_at_0(asked: Asked) -> None:
        await asked.answer(status=500 if asked.field(HEADER) == b"0" else 200)

    async def test(bench: Bench) -> None:
        async with workers(failing_at_0) as (one,):
            bench.configure(cb_failure_threshold=1)
            bench.serve_workers(*ranks(one.url, 0, 1))
            statuses = [(await bench.answer()).status for _ in range(4)]
            assert statuses == [500, 200, 200, 200]
            assert bench.accounting.worker_requests == {f"{one.url}@0": 1, f"{one.url}@1": 3}

    run(test)
