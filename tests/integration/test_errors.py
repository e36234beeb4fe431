"""Every way in which a request can fail: what its client is told of the worker, and whom the metrics blame."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.routers import Router, eventually, simulated_fleet

ARGUMENTS = (
    "--data-planes=1",
    "--response-header-timeout-secs=1",
    "--stream-idle-timeout-secs=1",
    "--request-timeout-secs=3",
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


class Routers(NamedTuple):
    """Two before one worker, that are asked the same at the same time: most failures are waited for."""

    hidden: Router
    exposed: Router


@pytest.fixture(scope="module")
def routers(worker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routers]:
    hidden = Router(tmp_path_factory.mktemp("hidden"), *ARGUMENTS, "--worker-urls", worker)
    exposed = Router(tmp_path_factory.mktemp("exposed"), *ARGUMENTS, "--expose-worker", "--worker-urls", worker)
    try:
        hidden.start()
        exposed.start()
        hidden.ready()
        exposed.ready()
        yield Routers(hidden, exposed)
    finally:
        hidden.close()
        exposed.close()


def exchange(router: Router, request: bytes, *, until: bytes | None = None) -> bytes:
    """Send a request as it is; return everything that comes back, or what has come when `until` is in it."""
    received = b""
    with socket.create_connection(("127.0.0.1", router.port), timeout=30) as connection:
        connection.sendall(request)
        while (until is None or until not in received) and (part := connection.recv(65536)):
            received += part
    return received


def answers(routers: Routers, request: bytes, *, until: bytes | None = None) -> list[bytes]:
    """What the two answer, the hiding one first."""
    with ThreadPoolExecutor(len(routers)) as threads:
        return list(threads.map(lambda router: exchange(router, request, until=until), routers))


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


def hides(answer: bytes, worker: str) -> bool:
    return not any(part in answer for part in [*address_of(worker), b"x-routerctl-worker"])


def names(answer: bytes, worker: str) -> bool:
    return f"Worker: {worker}.".encode() in answer


@pytest.mark.parametrize("name", CASES)
def test_a_failure_names_its_side_and_its_worker_only_to_those_who_may_know(
    routers: Routers, worker: str, name: str
) -> None:
    case = CASES[name]
    before = failures(routers.exposed)
    if case.fault is not None:
        httpx.post(f"{worker}/sim/faults", json=case.fault, trust_env=False).raise_for_status()
    try:
        # To a body that is not complete the answer comes at once, but not the connection's end.
        hiding, exposing = answers(routers, case.request, until=b"(request id: " if name == "half" else None)
    finally:
        httpx.delete(f"{worker}/sim/faults", trust_env=False).raise_for_status()
    for answer in (hiding, exposing):
        assert f'"code":"{case.code}"'.encode() in answer, answer
    assert hides(hiding, worker), hiding
    assert names(exposing, worker) if case.about_worker else hides(exposing, worker), exposing
    # Series are there from the start, at zero: `rate` would not see the first event of one that begins with it.
    # The figures of the other router are the same, and come once a second.
    key = (case.side, case.counted or case.code)
    expected = {**before, key: before[key] + 1}
    eventually(lambda: failures(routers.exposed) == expected, f"one more of {key}")


def test_an_answer_names_its_worker_only_to_those_who_may_know(routers: Routers, worker: str) -> None:
    hiding, exposing = (answer.partition(b"\r\n\r\n")[0] + b"\r\n" for answer in answers(routers, chat()))
    for head in (hiding, exposing):
        assert head.startswith(b"HTTP/1.1 200")
    assert f"x-routerctl-worker: {worker}\r\n".encode() in exposing
    assert hides(hiding, worker)


@pytest.fixture
def down(fleet: list[str]) -> Iterator[None]:
    """Last of all: the worker is some seconds on its way back."""
    yield
    httpx.delete(f"{fleet[1]}/sim/workers/0/faults", trust_env=False).raise_for_status()


@pytest.mark.usefixtures("down")
def test_a_worker_that_is_down_is_named_only_to_those_who_may_know(routers: Routers, worker: str) -> None:
    httpx.post(f"{worker}/sim/faults", json={"name": "refuse", "path": "/"}, trust_env=False).raise_for_status()
    before = [failures(router) for router in routers]
    for exposed, answer in enumerate(answers(routers, chat())):
        # Else it was missed before it was asked.
        was_asked = b'"code":"workers_unreachable"' in answer
        assert was_asked or b'"code":"no_worker_available"' in answer
        assert names(answer, worker) if exposed and was_asked else hides(answer, worker), answer
    for router, figures in zip(routers, before, strict=True):
        check_down(router, worker, figures, exposed=router is routers.exposed)


def check_down(router: Router, worker: str, before: dict[tuple[str, str], float], *, exposed: bool) -> None:
    eventually(lambda: b'"code":"no_worker_available"' in exchange(router, chat()), "the table without the worker")
    assert hides(exchange(router, chat()), worker)
    # That the fleet is down is no fault of the router's.
    eventually(lambda: failures(router)[("worker", "no_worker_available")] > 0, "the figure")
    assert [key for key, value in failures(router).items() if value != before[key] and key[0] == "router"] == []
    health = exchange(router, raw("GET", "/health"))
    assert b"503" in health
    assert b"Unhealthy servers: " in health
    assert any(part in health for part in address_of(worker)) == exposed
