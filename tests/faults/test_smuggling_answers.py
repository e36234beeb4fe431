"""G-EDGE-4, workers: whatever a worker sends, a client gets its own answer or an error, and so does the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest

from tests.faults.kernel_queue import send_and_be_read
from tests.faults.raw_worker import PATIENCE, Connection, RawClient, RawWorker, echo
from tests.faults.smuggling_answers import BAD_GATEWAY, CASES, Case
from tests.faults.strict_http import Message, NotStrictError
from tests.integration.routers import Router, router_before

_numbers = count(1)

Send = Callable[[Connection, bytes], None]


def at_once(connection: Connection, data: bytes) -> None:
    send_and_be_read(connection.stream, data)


def byte_by_byte(connection: Connection, data: bytes) -> None:
    for place in range(len(data)):
        send_and_be_read(connection.stream, data[place : place + 1])


def cut_at(place: int) -> Send:
    def send(connection: Connection, data: bytes) -> None:
        for piece in (data[:place], data[place:]):
            if piece:
                send_and_be_read(connection.stream, piece)

    return send


class Script:
    """Answers a request for a case as the case says, and all others truthfully."""

    def __init__(self) -> None:
        self.begin(CASES[0], at_once)

    def begin(self, case: Case, send: Send) -> None:
        self.case = case
        self.send = send
        self.has_answer = threading.Event()
        """Set by the test: the client has its answer."""
        self.sent_all = threading.Event()

    def __call__(self, connection: Connection, request: Message) -> bool:
        if not request.start[1].startswith(b"/case/"):
            return echo(connection, request)
        case, done = self.case, self.sent_all
        try:
            # A router that has seen enough closes in the middle.
            with suppress(ConnectionError):
                self.send(connection, case.sent)
                if case.late:
                    assert self.has_answer.wait(PATIENCE)
                    self.send(connection, case.late)
        finally:
            done.set()
        return not case.closes


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def worker(script: Script) -> Iterator[RawWorker]:
    with RawWorker(script) as one:
        yield one


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, worker: RawWorker) -> Iterator[Router]:
    with router_before(tmp_path_factory.mktemp("router"), [worker.url]) as one:
        yield one


def connection_of(worker: RawWorker, target: bytes) -> int:
    """The number of the one connection on which this was asked: it was asked once."""
    (number,) = [
        connection.number
        for connection in worker.connections
        for request in connection.requests
        if request.start[1] == target
    ]
    return number


def check(case: Case, answer: Message | None) -> None:
    assert answer is not None
    assert not answer.values(b"x-poison")
    assert answer.start == (case.status,)
    if case.status == BAD_GATEWAY:
        assert case.method == b"HEAD" or b'"bad_worker_answer"' in answer.body
    else:
        assert answer.body == case.body
        # A client that believes a length here would wait for a body.
        assert case.status != b"204" or not answer.values(b"content-length")


def run(case: Case, router: Router, worker: RawWorker, script: Script, send: Send) -> None:
    script.begin(case, send)
    number = next(_numbers)
    with RawClient(router.port) as client:
        client.send(b"%b /case/%d HTTP/1.1\r\nHost: r\r\n\r\n" % (case.method, number))
        if case.whole:
            check(case, client.answer(head=case.method == b"HEAD"))
        else:
            with pytest.raises(NotStrictError):
                client.answer()
        script.has_answer.set()
        assert script.sent_all.wait(PATIENCE)
    with RawClient(router.port) as client:
        for target in (f"/canary/{number}", f"/second/{number}"):
            answer = client.ask(target)
            assert answer is not None
            assert (answer.start[0], answer.body) == (b"200", f"GET {target} ".encode())
    used_again = connection_of(worker, b"/canary/%d" % number) == connection_of(worker, b"/case/%d" % number)
    assert used_again == case.pooled
    assert worker.violations == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_g_edge_4_the_right_answer_or_none(case: Case, router: Router, worker: RawWorker, script: Script) -> None:
    run(case, router, worker, script, at_once)


@pytest.mark.parametrize("case", [case for case in CASES if len(case.sent) < 2000], ids=lambda case: case.name)
def test_g_edge_4_a_byte_at_a_time(case: Case, router: Router, worker: RawWorker, script: Script) -> None:
    run(case, router, worker, script, byte_by_byte)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", [case for case in CASES if len(case.sent) < 2000], ids=lambda case: case.name)
def test_g_edge_4_however_it_is_split(case: Case, router: Router, worker: RawWorker, script: Script) -> None:
    """Cut once, at each byte."""
    for place in range(1, len(case.sent)):
        run(case, router, worker, script, cut_at(place))
