from __future__ import annotations

import msgspec

from controlplane.cli.explain_view import lines
from shared.receipt import ArmReceipt, AttemptReceipt, ChoiceReceipt, LeftOut, LoadReceipt, QueueReceipt, Receipt

ANSWERED = Receipt(
    request="abc",
    plane="1",
    method="POST",
    path="/v1/chat/completions",
    model="m",
    arrived=1000.5,
    first_byte=0.0421,
    ended=1.25,
    outcome="answered",
    status=200,
    policy="least_load",
    epoch=3,
    version=17,
    attempts=(
        AttemptReceipt(worker="http://a:1", began=0.0003, failed="status 503"),
        AttemptReceipt(
            worker="http://longer:1",
            began=0.0125,
            is_detailed=True,
            note="a note",
            choices=(
                ChoiceReceipt(
                    worker="http://longer:1",
                    reason="the least loaded of 2",
                    score=1.5,
                    load=LoadReceipt(in_flight=2, running=1.0, waiting=0.0, kv_usage=0.25, age=0.31),
                ),
                ChoiceReceipt(worker="http://c:1", reason="more loaded", score=12.0, load=LoadReceipt(in_flight=12)),
                ChoiceReceipt(worker="http://d:1", reason="more loaded"),
            ),
            left_out=(LeftOut(worker="http://e:1", reason="draining: drained by an operator"),),
        ),
    ),
)


def test_an_answered_request() -> None:
    first, second, *rest = lines(ANSWERED)
    assert first == "request abc: POST /v1/chat/completions, model m"
    assert second.endswith(".500, plane 1, table 3.17, policy least_load")
    assert rest == [
        "  attempt 1, after 0.3 ms: http://a:1",
        "    why is not written down: it is for so many choices a second only",
        "    failed: status 503",
        "  attempt 2, after 12.5 ms: http://longer:1",
        "    a note",
        "    candidate        score  in flight  running  waiting   kv    age  why",
        "    http://longer:1    1.5          2        1        0  25%  0.3 s  the least loaded of 2",
        "    http://c:1          12         12        ?        ?    ?      ?  more loaded",
        "    http://d:1                                                       more loaded",
        "    left out: http://e:1: draining: drained by an operator",
        "  answered with 200: first byte after 42.1 ms, the end after 1.25 s",
    ]


def test_the_retry_after_a_stale_connection_has_no_number_of_its_own() -> None:
    stale = AttemptReceipt(worker="http://a:1", began=0.0001, failed="closed a kept connection", is_detailed=True)
    again = AttemptReceipt(worker="http://a:1", leg="prefill", policy="random", began=0.0002, is_again=True)
    attempts = (stale, again, ANSWERED.attempts[0])
    told = list(lines(msgspec.structs.replace(ANSWERED, attempts=attempts)))
    assert told[2:6] == [
        "  attempt 1, after 0.1 ms: http://a:1",
        "    failed: closed a kept connection",
        "  again, over a new connection, after 0.2 ms: http://a:1",
        "  attempt 2, after 0.3 ms: http://a:1",
    ]


def test_a_request_that_found_no_worker_and_tries_to_write_to_the_terminal() -> None:
    rejected = Receipt(
        request="\x1b[2J",
        plane="0",
        method="GET",
        path="/ü",
        model="a\nb",
        arrived=0.0,
        ended=0.001,
        outcome="rejected no_worker_available",
        status=503,
        policy="random",
        epoch=1,
        version=1,
        left_out=(LeftOut(worker="http://e:1", reason="starting"),),
    )
    told = list(lines(rejected))
    assert told[0] == "request '\\x1b[2J': GET /\\xfc, model 'a\\nb'"
    assert told[2:] == [
        "  no worker was tried",
        "    left out: http://e:1: starting",
        "  rejected no_worker_available with 503: the end after 1.0 ms",
    ]


def test_a_request_that_was_over_a_limit() -> None:
    refused = msgspec.structs.replace(ANSWERED, attempts=(), limit="key:alice:tokens", outcome="rejected 429")
    assert "  no room: the limit key:alice:tokens was full" in list(lines(refused))
    full = msgspec.structs.replace(refused, limit="worker:")
    assert "  no room: all of its workers had as many requests as they may" in list(lines(full))


def test_how_many_were_ahead_is_said_as_people_say_it() -> None:
    for position, told in ((0, "behind nobody"), (1, "behind 1 other"), (2, "behind 2 others")):
        queue = QueueReceipt(position=position, expected=None, took=0.25)
        assert f"  waited 250.0 ms for its turn, {told}" in list(lines(msgspec.structs.replace(ANSWERED, queue=queue)))


def test_what_a_request_waited_for_is_named() -> None:
    for limit, told in (
        ("model:m", "the limit model:m was full"),
        ("worker:", "all of its workers had as many requests as they may"),
    ):
        queue = QueueReceipt(position=1, expected=0.5, took=0.25, limit=limit)
        line = f"  waited 250.0 ms for its turn, behind 1 other, 500.0 ms were expected: {told}"
        assert line in list(lines(msgspec.structs.replace(ANSWERED, queue=queue)))


def test_a_name_with_one_arm_had_nothing_to_choose() -> None:
    def told(by: str) -> str:
        arm = ArmReceipt(to="org/m", by=by, rewritten=True)
        return list(lines(msgspec.structs.replace(ANSWERED, arm=arm)))[2]

    assert told("single") == "  stands for org/m; the worker gets that name"
    assert told("only") == "  stands for org/m (the only arm that is ready); the worker gets that name"
