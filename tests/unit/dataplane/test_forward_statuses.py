"""Answers that say "not now": another worker is asked, unless an engine may have run the request.

And the pauses between attempts, which end as soon as the request does.
"""

from __future__ import annotations

import pytest

from dataplane import retry
from dataplane.admission.turn import Turn
from dataplane.dial import Dial
from dataplane.retry import RETRYABLE_STATUSES
from dataplane.slot import Slot
from tests.unit.dataplane.forward_bench import BODY, Bench, Run, error_of, well, workers
from tests.unit.dataplane.listening import refusing_port, until
from tests.unit.dataplane.scripted_worker import Asked, Script

NOT_RUN = [408, 429, 503]


def refusing(status: int, *, fields: bytes = b"", body: bytes = b"not now", chunked: bool = False) -> Script:
    """Make a script that answers with a status, in one piece."""

    async def script(asked: Asked) -> None:
        if chunked:
            framed = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            await asked.write(b"HTTP/1.1 %d X\r\n%b" % (status, framed))
        else:
            await asked.answer(body, status=status, fields=fields)

    return script


# --- statuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", NOT_RUN)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_refusal_goes_to_another_worker_and_the_client_sees_nothing_of_it(
    run: Run, status: int, chunked: bool
) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(status, chunked=chunked), well) as (busy, good):
            bench.serve(busy.url, good.url)
            transaction = await bench.answer()
            assert (transaction.status, transaction.body) == (200, b"well")
            assert (len(busy.asked), len(good.asked)) == (1, 1)
            assert bench.accounting.retries == {f"status-{status}": 1}
            assert bench.accounting.requests == {("/v1/completions", "POST", "m", 200, ""): 1}
            # Busy is not broken, but a 503 that does not ask for another try is.
            assert bench.evidence == ([("a", 7, "error-status")] if status == 503 else [])
            # Closed, so that nothing of the answer that was not wanted can come later.
            await until(lambda: busy.open == 0)
            assert bench.idle() == 1

    run(test)


def test_a_worker_that_asks_to_be_tried_again_is_busy_and_not_broken(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(503, fields=b"retry-after: 0\r\n"), well) as (busy, good):
            bench.serve(busy.url, good.url)
            assert (await bench.answer()).body == b"well"
            assert not bench.evidence

    run(test)


@pytest.mark.parametrize("chunked", [True, False])
def test_when_all_refuse_the_last_ones_own_answer_is_passed_on(run: Run, chunked: bool) -> None:
    async def test(bench: Bench) -> None:
        order: list[int] = []

        def numbered(number: int) -> Script:
            async def script(asked: Asked) -> None:
                order.append(number)
                await refusing(503, body=b"busy %d" % number, chunked=chunked)(asked)

            return script

        async with workers(*map(numbered, range(3))) as started:
            bench.configure(retry_initial_backoff=0.001, max_attempts=3)
            bench.serve(*(worker.url for worker in started))
            transaction = await bench.answer()
            assert (transaction.status, transaction.body, transaction.whole) == (503, b"busy %d" % order[-1], True)
            assert [len(worker.asked) for worker in started] == [1, 1, 1]
            assert bench.accounting.finished == 1

    run(test)


@pytest.mark.parametrize("status", sorted(RETRYABLE_STATUSES))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_an_engine_may_have_run_is_passed_on_at_once(run: Run, status: int, method: str) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(status), well) as (bad, good):
            bench.serve(bad.url, good.url)
            transaction = await bench.answer(BODY if method == "POST" else b"", method=method)
            again = method == "GET" or status in NOT_RUN
            assert transaction.status == (200 if again else status)
            assert len(good.asked) == int(again)

    run(test)


def test_a_worker_that_asks_for_more_time_than_there_is_is_passed_on_at_once(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(429, fields=b"Retry-After: 5\r\n")) as (worker,):
            bench.configure(retry_initial_backoff=0.001)
            bench.serve(worker.url)
            transaction = await bench.answer()
            assert (transaction.status, transaction.header(b"retry-after")) == (429, b"5")
            assert len(worker.asked) == 1

    run(test)


def test_a_worker_alone_is_asked_again_after_a_pause(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(503)) as (worker,):
            bench.configure(retry_initial_backoff=0.001)
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: len(worker.asked) >= 2)
            worker.script = well
            await bench.ended(transaction)
            assert transaction.status in (200, 503)
            assert 2 <= len(worker.asked) <= 5

    run(test)


def test_an_empty_budget_allows_no_retry(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(503), well) as (busy, good):
            bench.serve(busy.url, good.url)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(bench.forwarder.budget, "has_token", lambda now: False)
                assert (await bench.answer()).status == 503
            assert not good.asked

    run(test)


def test_each_retry_is_paid_for(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(503)) as (worker,):
            bench.configure(retry_initial_backoff=0.0, max_attempts=100)
            bench.serve(worker.url)
            began = bench.forwarder.loop.time()
            requests = 30
            for _ in range(requests):
                assert (await bench.answer()).status == 503
            # What there is at the start, a fifth of the requests, and ten a second. The loop's clock moves by whole ms.
            seconds = bench.forwarder.loop.time() - began + 0.01
            assert len(worker.asked) <= requests + 10 + 0.2 * requests + 10 * seconds

    run(test)


# --- pauses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["client", "timeout", "shutdown"])
@pytest.mark.parametrize("refused", [True, False])
def test_a_request_ends_in_its_pause(run: Run, by: str, refused: bool) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(503)) as (worker,):
            with refusing_port() as port:
                bench.configure(retry_initial_backoff=0.9, retry_jitter_factor=0.0)
                bench.serve(f"http://127.0.0.1:{port}" if refused else worker.url)
                transaction = bench.ask()
                await until(bench.pausing)
                attempts = bench.attempts()
                assert attempts is not None
                pause = attempts._pending
                assert pause is not None
                assert not isinstance(pause, Dial | Turn)
                # Nobody works on it now.
                assert bench.inflight() == 0
                if by == "client":
                    await until(lambda: transaction.listening)
                    transaction.leave()
                    await bench.ended(transaction)
                    assert bench.accounting.aborted == {"client": 1}
                    assert not transaction.sent
                elif by == "timeout":
                    bench.configure(request_timeout=0)
                    bench.forwarder.expire()
                    assert error_of(transaction)["code"] == "worker_timeout"
                else:
                    bench.forwarder.interrupt_all()
                    assert error_of(transaction)["code"] == "no_worker_available"
                assert pause.cancelled()
                assert len(worker.asked) == int(not refused)

    run(test)


def test_the_worker_leaves_the_table_in_the_pause(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(503), well) as (busy, other):
            bench.configure(retry_initial_backoff=0.05, retry_jitter_factor=0.0)
            bench.serve(busy.url)
            transaction = bench.ask()
            await until(bench.pausing)
            bench.serve()
            await bench.ended(transaction)
            assert error_of(transaction)["code"] == "no_worker_available"
            assert not other.asked

    run(test)


def test_after_the_pause_another_than_the_last_is_asked_if_there_is_one(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing(503), refusing(503)) as (first, second):
            bench.configure(retry_initial_backoff=0.001)
            bench.serve(first.url, second.url)
            picked: list[str] = []

            def pick(candidates: tuple[Slot, ...], *_: object) -> Slot:
                """Begin with the first, then prefer the second: it would be asked twice in a row."""
                slot = candidates[-1 if picked else 0]
                picked.append(slot.id)
                return slot

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(bench.fleet.view.policy, "pick", pick)
                assert (await bench.answer()).status == 503
            assert picked == ["a", "b", "a", "b", "a"]

    run(test)


def test_all_pauses_together_are_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "MAX_WAIT", 0.01)

    async def test(bench: Bench) -> None:
        async with workers(refusing(503)) as (worker,):
            bench.configure(
                retry_initial_backoff=0.004, retry_backoff_multiplier=1.0, retry_jitter_factor=0.0, max_attempts=50
            )
            bench.serve(worker.url)
            assert (await bench.answer()).status == 503
            assert len(worker.asked) == 3

    run(test)
