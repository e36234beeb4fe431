"""Which requests of a plane are traced, what is told of them, and that it is bounded."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataplane.access_lines import Ended
from dataplane.token_bucket import TokenBucket
from dataplane.tracing.context import Trace, parse, trace_from
from dataplane.tracing.spans import Span, spans_of
from dataplane.tracing.tracing import BEGUN_PER_SECOND, CONTINUED_PER_SECOND, MOST_ENDING, Tracing
from tests.unit.dataplane.forward_bench import Bench, Run, hang, stream, well, workers
from tests.unit.dataplane.listening import refusing_port, until
from tests.unit.dataplane.scripted_worker import Asked

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + b"0"


class Kept:
    """Keeps what it is told."""

    def __init__(self, room: int = 1000) -> None:
        self.exported = 0
        self.failed = 0
        self.told: list[tuple[Ended, Trace]] = []
        self.is_closed = self.is_ended = False
        self._room = room

    def put(self, request: Ended, trace: Trace) -> bool:
        if len(self.told) >= self._room:
            return False
        self.told.append((request, trace))
        self.exported += 1
        return True

    def end(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = self.is_ended = True

    def spans(self) -> dict[str, Span]:
        ((request, trace),) = self.told
        return {span.name: span for span in spans_of(request, trace)}


def listen(bench: Bench, ratio: float = 1.0, room: int = 1000) -> Kept:
    kept = Kept(room)
    bench.forwarder.tracing = Tracing(random.Random(3), bench.forwarder.loop.time(), lambda endpoint: kept)
    bench.forwarder.tracing.use("http://collector", ratio)
    return kept


async def spoken(asked: Asked) -> None:
    usage = b'"usage":{"prompt_tokens":7,"completion_tokens":3}'
    await asked.answer(b'{"id":"x",%b,"traceparent":"%b"}' % (usage, asked.field(b"traceparent") or b""))


async def sorry(asked: Asked) -> None:
    await asked.answer(b"not now", status=503)


def test_without_a_collector_a_callers_field_passes_as_it_came(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(spoken) as (one,):
            bench.serve(one.url)
            answer = await bench.answer(headers=[(b"traceparent", PARENT)])
            assert b'"traceparent":"%b"' % PARENT in answer.body
            assert bench.forwarder.tracing.counts == dict.fromkeys(("exported", "failed", "dropped", "passed_over"), 0)

    run(test)


def test_the_worker_continues_the_attempts_span(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(spoken) as (one,):
            bench.serve(one.url)
            kept = listen(bench)
            answer = await bench.answer(headers=[(b"traceparent", PARENT)])
            spans = kept.spans()
            root, attempt = spans["POST /v1/completions"], spans["text_completion m"]
            assert (root.kind, attempt.kind) == ("server", "client")
            assert root.parent_id == 0xB7AD6B7169203331
            assert attempt.parent_id == root.span_id
            told = f"00-0af7651916cd43dd8448eb211c80319c-{attempt.span_id:016x}-01"
            assert told.encode() in answer.body
            assert root.attributes["http.response.status_code"] == 200
            assert root.attributes["gen_ai.usage.input_tokens"] == 7
            assert attempt.attributes["gen_ai.usage.output_tokens"] == 3
            assert attempt.attributes["vllm.request_phase"] == "inference"
            assert attempt.attributes["routerctl.worker"] == "a"
            phases = [spans[name] for name in ("receive", "connect", "wait", "stream")]
            assert [phase.parent_id for phase in phases] == [root.span_id, *[attempt.span_id] * 3]
            moments = [moment for phase in phases for moment in (phase.began, phase.ended)]
            assert moments == sorted(moments)
            assert root.began <= moments[0]
            assert moments[-1] <= root.ended
            assert not any(span.error for span in spans.values())

    run(test)


def test_each_attempt_has_a_span_and_a_failed_one_says_why(run: Run) -> None:
    async def test(bench: Bench) -> None:
        with refusing_port() as port:
            async with workers(sorry) as (one,):
                bench.configure(retry_initial_backoff=0.001, max_attempts=2)
                bench.serve(f"http://127.0.0.1:{port}", one.url)
                kept = listen(bench)
                assert (await bench.answer()).status == 503
        ((request, trace),) = kept.told
        root, *others = spans_of(request, trace)
        assert root.error == "status 503"
        attempts = [span for span in others if span.kind == "client"]
        assert all(span.error for span in attempts)
        assert len({span.span_id for span in attempts}) == 2
        assert [span.attributes.get("http.response.status_code") for span in attempts] == [None, 503]

    run(test)


def test_a_client_that_leaves_is_no_error(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (one,):
            bench.serve(one.url)
            kept = listen(bench)
            transaction = bench.ask()
            await until(lambda: bool(one.asked) and transaction.listening)
            transaction.leave()
            await bench.ended(transaction)
            root = kept.spans()["POST /v1/completions"]
            assert root.attributes["routerctl.outcome"] == "aborted by client"
            assert not root.error

    run(test)


def test_what_the_router_refuses_is_an_error_of_the_servers(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.serve()
        kept = listen(bench)
        assert (await bench.answer()).status == 503
        root = kept.spans()["POST /v1/completions"]
        assert root.error
        assert root.attributes["error.type"] == "no_worker_available"

    run(test)


def test_a_trace_is_named_in_the_receipt(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (one,):
            bench.serve(one.url)
            listen(bench)
            await bench.answer(headers=[(b"traceparent", PARENT)])
            record = bench.forwarder.receipts.find(b"mine")
            assert record is not None
            assert record.extra.trace == "0af7651916cd43dd8448eb211c80319c"

    run(test)


def tracing_at(now: float, ratio: float = 1.0) -> Tracing:
    tracing = Tracing(random.Random(1), now, lambda endpoint: Kept())
    tracing.use("http://collector", ratio)
    return tracing


def test_a_callers_trace_goes_on_whatever_the_ratio() -> None:
    trace = tracing_at(0.0, 0.0).begin({b"traceparent": PARENT}, 0.0)
    assert trace is not None
    assert (trace.name, trace.parent_id) == ("0af7651916cd43dd8448eb211c80319c", 0xB7AD6B7169203331)
    assert tracing_at(0.0).begin({b"traceparent": UNSAMPLED}, 0.0) is None


def test_a_field_that_is_not_valid_counts_as_absent() -> None:
    trace = tracing_at(0.0).begin({b"traceparent": b"nonsense"}, 0.0)
    assert trace is not None
    assert trace.parent_id == 0
    assert tracing_at(0.0, 0.0).begin({b"traceparent": b"nonsense"}, 0.0) is None


def test_about_so_many_of_the_others_begin_one() -> None:
    tracing = tracing_at(0.0, 0.25)
    begun = sum(tracing.begin({}, float(second)) is not None for second in range(4000))
    assert 900 < begun < 1100
    assert tracing.passed_over == 0, "what would not have been traced is not passed over"


def test_no_more_are_traced_in_a_second_than_there_may_be() -> None:
    tracing = tracing_at(0.0)
    begun = sum(tracing.begin({}, 0.0) is not None for _ in range(1000))
    assert begun == BEGUN_PER_SECOND
    continued = sum(tracing.begin({b"traceparent": PARENT}, 0.0) is not None for _ in range(1000))
    assert continued == CONTINUED_PER_SECOND
    assert tracing.counts["passed_over"] == 2000 - begun - continued
    assert sum(tracing.begin({}, 0.5) is not None for _ in range(1000)) == BEGUN_PER_SECOND / 2


KINDS: tuple[dict[bytes, bytes], ...] = (
    {},
    {b"traceparent": PARENT},
    {b"traceparent": UNSAMPLED},
    {b"traceparent": b"nonsense"},
)


@settings(max_examples=60)
@example(began=0, bursts=[(0, {}, 101), (31, {}, 25), (1, {}, 1)], ratio=1.0)
@given(
    # Whole parts of a second that floats have exactly: at such moments it shows whether a token is there in time.
    began=st.integers(0, 1 << 30),
    bursts=st.lists(
        st.tuples(st.integers(0, 128), st.sampled_from(KINDS), st.integers(1, 150)), min_size=1, max_size=25
    ),
    ratio=st.sampled_from((1.0, 0.5)),
)
def test_who_is_traced_and_who_passed_over_is_what_the_buckets_say(
    began: int, bursts: list[tuple[int, dict[bytes, bytes], int]], ratio: float
) -> None:
    """Asking the buckets for each request, as is not done while there can be no token."""
    ticks, passed_over = began, 0
    tracing = tracing_at(ticks / 128, ratio)
    rng = random.Random(1)
    begun, continued = (
        TokenBucket(ticks / 128, tokens=rate, per_second=rate, most=rate)
        for rate in (BEGUN_PER_SECOND, CONTINUED_PER_SECOND)
    )
    for later, fields, requests in bursts:
        ticks += later
        now = ticks / 128
        for _ in range(requests):
            parent = parse(fields.get(b"traceparent", b""))
            trace = tracing.begin(fields, now)
            if (parent is not None and not parent.is_sampled) or (
                parent is None and ratio < 1.0 and rng.random() >= ratio
            ):
                assert trace is None
            elif (bucket := begun if parent is None else continued).has_token(now):
                bucket.take()
                expected = trace_from(parent, rng)
                assert trace is not None
                assert (trace.trace_id, trace.parent_id) == (expected.trace_id, expected.parent_id)
            else:
                passed_over += 1
                assert trace is None
            assert tracing.passed_over == passed_over


def test_only_so_many_end_at_a_time() -> None:
    """Each holds a thread while its collector hangs: what comes after them begins when one has ended."""
    opened: list[tuple[str, Kept]] = []

    def opening(endpoint: str) -> Kept:
        opened.append((endpoint, Kept()))
        return opened[-1][1]

    tracing = Tracing(random.Random(1), 0.0, opening)
    for number in range(MOST_ENDING + 3):
        tracing.use(f"http://{number}", 1.0)
    assert [endpoint for endpoint, _ in opened] == [f"http://{number}" for number in range(MOST_ENDING)]
    was_on = tracing.is_on
    assert tracing.tend() == MOST_ENDING
    opened[1][1].exported, opened[1][1].failed = 5, 2
    assert (tracing.exported, tracing.failed) == (5, 2)
    opened[1][1].is_ended = True
    assert tracing.tend() == MOST_ENDING - 1
    assert opened[-1][0] == f"http://{MOST_ENDING + 2}"
    assert len(opened) == MOST_ENDING + 1
    assert (was_on, tracing.is_on) == (False, True)
    assert (tracing.exported, tracing.failed) == (5, 2)
    tracing.close()
    assert all(one.is_closed for _, one in opened)
    assert tracing.tend() == 0
    assert len(opened) == MOST_ENDING + 1
    assert (tracing.exported, tracing.failed) == (5, 2)


def test_what_finds_no_room_is_counted(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well) as (one, _):
            bench.serve(one.url)
            kept = listen(bench, room=1)
            await bench.answer()
            await bench.answer()
            assert bench.forwarder.tracing.counts == {"exported": 1, "failed": 0, "dropped": 1, "passed_over": 0}
            bench.forwarder.tracing.use(None, 1.0)
            assert kept.is_closed
            assert not bench.forwarder.tracing.is_on
            assert bench.forwarder.tracing.counts["exported"] == 1

    run(test)


def test_traced_requests_are_the_histograms_exemplars(run: Run) -> None:
    """Whole answers that were counted there and whose trace is told of; a stream's first token, too."""

    async def test(bench: Bench) -> None:
        async with workers(stream, well) as (one, two):
            bench.serve(one.url)
            listen(bench, room=1)
            tracing = bench.forwarder.tracing
            await bench.answer(headers=[(b"traceparent", PARENT)])
            told = {exemplar.name: exemplar for exemplar in tracing.exemplars.series()}
            assert told.keys() == {"request_duration_seconds", "time_to_first_token_seconds"}
            assert {exemplar.trace for exemplar in told.values()} == {"0af7651916cd43dd8448eb211c80319c"}
            for series in bench.forwarder.accounting.histogram_series():
                if series.name in told:
                    exemplar = told[series.name]
                    assert series.labels == exemplar.labels
                    assert series.counts[exemplar.bucket] == 1
                    assert series.sum == exemplar.value
            bench.serve(two.url)
            await bench.answer()
            assert tracing.dropped == 1
            assert len(tracing.exemplars.series()) == 2, "nobody would find this trace"
            tracing.use(None, 1.0)
            assert tracing.exemplars.series() == ()

    run(test)
