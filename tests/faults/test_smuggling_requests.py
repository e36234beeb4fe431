"""G-EDGE-4, clients: whatever a client sends, a worker gets requests that can be read in one way only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest

from tests.faults.kernel_queue import send_and_be_read
from tests.faults.raw_worker import RawClient, RawWorker
from tests.faults.smuggling_requests import CASES, HIDDEN, Case, Seen
from tests.integration.routers import Router, router_before

_AFTER: Seen = (b"GET", b"/after", b"")
_numbers = count(1)

Send = Callable[[RawClient, bytes], None]


@pytest.fixture(scope="module")
def worker() -> Iterator[RawWorker]:
    with RawWorker() as one:
        yield one
        one.saw_nothing_hidden()


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, worker: RawWorker) -> Iterator[Router]:
    with router_before(tmp_path_factory.mktemp("router"), [worker.url]) as one:
        yield one


def ask_and_check(client: RawClient) -> None:
    """A question that nobody can mistake gets its own answer."""
    target = f"/canary/{next(_numbers)}"
    answer = client.ask(target)
    assert answer is not None
    assert (answer.start[0], answer.body) == (b"200", f"GET {target} ".encode())


def run(case: Case, router: Router, worker: RawWorker, send: Send) -> None:
    known = len(worker.requests)
    seen = case.seen if case.closes else (*case.seen, _AFTER)
    with RawClient(router.port) as client:
        send(client, case.sent + (HIDDEN if case.closes else b"GET /after HTTP/1.1\r\nHost: r\r\n\r\n"))
        for method, target, body in seen:
            answer = client.answer(head=method == b"HEAD")
            assert answer is not None
            assert answer.start == (b"200",)
            if method != b"HEAD":
                assert answer.body == b"%b %b %b" % (method, target, body)
        if case.closes:
            refusal = client.answer()
            if case.refused:
                assert refusal is not None
            assert refusal is None or refusal.start[0] in (b"400", b"413", b"431")
            assert client.rest() == b""
        else:
            ask_and_check(client)
            known_after = len(worker.requests) - 1
    if case.closes:
        known_after = len(worker.requests)
    with RawClient(router.port) as client:
        ask_and_check(client)
    assert [(*request.start, request.body) for request in worker.requests[known:known_after]] == list(seen)
    assert worker.violations == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_g_edge_4_one_reading_or_none(case: Case, router: Router, worker: RawWorker) -> None:
    run(case, router, worker, RawClient.send)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_g_edge_4_however_it_is_split(case: Case, router: Router, worker: RawWorker) -> None:
    """Cut once, at each byte; what is very long only where something begins or ends."""
    whole = len(case.sent)
    for place in range(1, whole) if whole < 2000 else (*range(1, 200), *range(whole - 50, whole)):

        def send(client: RawClient, data: bytes, place: int = place) -> None:
            with suppress(ConnectionError):
                send_and_be_read(client.stream, data[:place])
                client.stream.sendall(data[place:])

        run(case, router, worker, send)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", [case for case in CASES if len(case.sent) < 2000], ids=lambda case: case.name)
def test_g_edge_4_a_byte_at_a_time(case: Case, router: Router, worker: RawWorker) -> None:
    def send(client: RawClient, data: bytes) -> None:
        with suppress(ConnectionError):
            for place in range(len(data)):
                send_and_be_read(client.stream, data[place : place + 1])

    run(case, router, worker, send)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: r\r\nHost: r\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT r:80 HTTP/1.1\r\nHost: r:80\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
    ],
)
def test_g_edge_4_a_refusal_says_why_in_openais_shape(sent: bytes, router: Router) -> None:
    with RawClient(router.port) as client:
        client.send(sent)
        answer = client.answer()
    assert answer is not None
    assert answer.start == (b"400",)
    assert answer.values(b"connection") == [b"close"]
    error = json.loads(answer.body)["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "bad_request")
    assert answer.values(b"x-request-id")[0].decode() in error["message"]


def test_g_edge_4_the_body_of_a_request_to_an_own_path_is_no_request(router: Router, worker: RawWorker) -> None:
    framed = b"Host: r\r\nContent-Length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN)
    with RawClient(router.port) as client:
        for line, status in ((b"GET /health", b"200"), (b"POST /health", b"405")):
            client.send(b"%b HTTP/1.1\r\n%b" % (line, framed))
            answer = client.answer()
            assert answer is not None
            assert answer.start == (status,)
        ask_and_check(client)
    assert worker.violations == []
