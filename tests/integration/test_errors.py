"""Every way in which a request can fail: what its client is told of the worker, and whom the metrics blame."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.routers import Router, eventually, simulated_fleet

ARGUMENTS = (
    "--data-planes=1",
    "--response-header-timeout-secs=1",
    "--stream-idle-timeout-secs=1",
    "--request-timeout-secs=4",
    "--client-body-timeout-secs=1",
    "--max-payload-size=1000",
)


class Case(NamedTuple):
    """A failure: the worker's fault, the request, what comes of it, and the metric's labels."""

    fault: dict[str, object] | None
    request: bytes
    code: str
    side: str
    counted: str = ""
    about_worker: bool = True


def chat(**fields: object) -> bytes:
    body = json.dumps({"model": "sim-model", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4, **fields})
    return raw("POST", "/v1/chat/completions", body.encode())


def raw(method: str, path: str, body: bytes = b"", length: int | None = None) -> bytes:
    given = len(body) if length is None else length
    head = f"{method} {path} HTTP/1.1\r\nhost: router.test\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}content-length: {given}\r\n\r\n".encode() + body


STREAM, LARGE = chat(stream=True, max_tokens=20), chat(more="x" * 2000)

CASES = {
    "reset": Case({"name": "die"}, chat(), "workers_unreachable", "worker"),
    "short": Case({"name": "short_body"}, chat(), "bad_worker_answer", "worker"),
    "no-chunk": Case({"name": "bad_chunk", "after_chunks": 2}, STREAM, "bad_worker_answer", "worker", "truncated"),
    "died": Case({"name": "die", "after_chunks": 2}, STREAM, "bad_worker_answer", "worker", "truncated"),
    "no-head": Case({"name": "stall"}, chat(), "worker_stalled", "worker"),
    "stalled": Case({"name": "stall", "after_chunks": 2}, STREAM, "worker_stalled", "worker", "truncated"),
    "endless": Case(None, chat(stream=True, max_tokens=4000), "worker_timeout", "worker"),
    "model": Case(None, chat(model="other"), "model_not_found", "client", about_worker=False),
    "large": Case(None, LARGE, "payload_too_large", "client", about_worker=False),
    "half": Case(None, raw("POST", "/v1/x", b"{", 9), "request_body_timeout", "client", about_worker=False),
    "method": Case(None, raw("POST", "/health"), "method_not_allowed", "client", about_worker=False),
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A worker, and its neighbour that can be asked to bring it back."""
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 2, "--decode-ms=2", "--record=0") as urls:
        yield urls


@pytest.fixture(scope="module")
def worker(fleet: list[str]) -> str:
    return fleet[0]


@pytest.fixture(scope="module", params=[False, True], ids=["hidden", "exposed"])
def exposed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def router(worker: str, exposed: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    more = ("--expose-worker",) if exposed else ()
    one = Router(tmp_path_factory.mktemp("router"), *ARGUMENTS, *more, "--worker-urls", worker)
    try:
        one.start().ready()
        yield one
    finally:
        one.close()


def exchange(router: Router, request: bytes, *, until: bytes | None = None) -> bytes:
    """Send a request as it is; return everything that comes back, or what has come when `until` is in it."""
    received = b""
    with socket.create_connection(("127.0.0.1", router.port), timeout=30) as connection:
        connection.sendall(request)
        while (until is None or until not in received) and (part := connection.recv(65536)):
            received += part
    return received


def failures(router: Router) -> dict[tuple[str, str], float]:
    """The errors counted, by side and code."""
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    return {
        (sample.labels["side"], sample.labels["code"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "routerctl_request_errors_total"
    }


def address_of(worker: str) -> list[bytes]:
    """What would give a worker away."""
    host, port = worker.removeprefix("http://").split(":")
    return [host.encode(), f":{port}".encode(), worker.encode()]


def check_naming(answer: bytes, worker: str, *, exposed: bool) -> None:
    if exposed:
        assert f"Worker: {worker}.".encode() in answer
    else:
        assert not any(part in answer for part in [*address_of(worker), b"x-routerctl-worker"]), answer


@pytest.mark.parametrize("name", CASES)
def test_a_failure_names_its_side_and_its_worker_only_to_those_who_may_know(
    router: Router, worker: str, exposed: bool, name: str
) -> None:
    case = CASES[name]
    before = failures(router) if exposed else {}
    if case.fault is not None:
        httpx.post(f"{worker}/sim/faults", json=case.fault, trust_env=False).raise_for_status()
    try:
        # To a body that is not complete the answer comes at once, but not the connection's end.
        answer = exchange(router, case.request, until=b"(request id: " if name == "half" else None)
    finally:
        httpx.delete(f"{worker}/sim/faults", trust_env=False).raise_for_status()
    assert f'"code":"{case.code}"'.encode() in answer, answer
    check_naming(answer, worker, exposed=exposed and case.about_worker)
    if not exposed:
        # The figures are the same, and come once a second.
        return
    # Series are there from the start, at zero: `rate` would not see the first event of one that begins with it.
    key = (case.side, case.counted or case.code)
    expected = {**before, key: before[key] + 1}
    eventually(lambda: failures(router) == expected, f"one more of {key}")


def test_an_answer_names_its_worker_only_to_those_who_may_know(router: Router, worker: str, exposed: bool) -> None:
    head = exchange(router, chat()).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 200")
    assert (f"x-routerctl-worker: {worker}\r\n".encode() in head + b"\r\n") == exposed
    assert exposed or not any(part in head for part in address_of(worker))


@pytest.fixture
def down(fleet: list[str]) -> Iterator[None]:
    """Last of all: the worker is some seconds on its way back."""
    yield
    httpx.delete(f"{fleet[1]}/sim/workers/0/faults", trust_env=False).raise_for_status()


@pytest.mark.usefixtures("down")
def test_a_worker_that_is_down_is_named_only_to_those_who_may_know(router: Router, worker: str, exposed: bool) -> None:
    httpx.post(f"{worker}/sim/faults", json={"name": "refuse", "path": "/"}, trust_env=False).raise_for_status()
    before = failures(router)
    answer = exchange(router, chat())
    # Else it was missed before it was asked.
    was_asked = b'"code":"workers_unreachable"' in answer
    assert was_asked or b'"code":"no_worker_available"' in answer
    check_naming(answer, worker, exposed=exposed and was_asked)
    eventually(lambda: b'"code":"no_worker_available"' in exchange(router, chat()), "the table without the worker")
    check_naming(exchange(router, chat()), worker, exposed=False)
    # That the fleet is down is no fault of the router's.
    eventually(lambda: failures(router)[("worker", "no_worker_available")] > 0, "the figure")
    assert [key for key, value in failures(router).items() if value != before[key] and key[0] == "router"] == []
    health = exchange(router, raw("GET", "/health"))
    assert b"503" in health
    assert b"Unhealthy servers: " in health
    assert any(part in health for part in address_of(worker)) == exposed
