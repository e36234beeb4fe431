"""G-EDGE-3: bodies of every size up to the limit go through, larger ones get a 413 that their sender can read."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.faults.edge import adds_up, connect, open_files, post, read_answer, resident
from tests.integration.routers import Router, eventually, router_before, samples, simulated_fleet

LIMIT = 8 << 20
PIECE = 64 * 1024


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 1, "--time-scale=0", "--record=0") as urls:
        yield urls


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, workers: list[str]) -> Iterator[Router]:
    with router_before(tmp_path_factory.mktemp("router"), workers, f"--max-payload-size={LIMIT}") as one:
        yield one


def head(*fields: str) -> bytes:
    return "\r\n".join(["POST /sim/echo HTTP/1.1", "host: x", *fields, "", ""]).encode()


def pieces(size: int) -> Iterator[bytes]:
    whole, rest = divmod(size, PIECE)
    yield from (b"x" * PIECE for _ in range(whole))
    if rest:
        yield b"x" * rest


def send(connection: socket.socket, size: int, *, chunked: bool) -> None:
    """Send all of a body, whether the router wants it or not."""
    if chunked:
        connection.sendall(head("transfer-encoding: chunked"))
        for piece in pieces(size):
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
    else:
        connection.sendall(head(f"content-length: {size}"))
        for piece in pieces(size):
            connection.sendall(piece)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 70_000, LIMIT - 1, LIMIT])
def test_g_edge_3_a_body_up_to_the_limit_is_taken(router: Router, size: int, chunked: bool) -> None:
    with connect(router) as client:
        send(client, size, chunked=chunked)
        status, body = read_answer(client)
    assert status == 200
    told = json.loads(body)
    assert told["body_length"] == size
    assert told["sha256"] == sha256(b"x" * size).hexdigest()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT])
def test_g_edge_3_who_sends_more_gets_to_read_why_not(router: Router, size: int, chunked: bool) -> None:
    """Sending does not fail either: not every client looks for an answer after that."""
    with connect(router) as client:
        send(client, size, chunked=chunked)
        status, body = read_answer(client)
        assert status == 413
        assert json.loads(body)["error"]["code"] == "payload_too_large"
        assert client.recv(1) == b""


def test_g_edge_3_who_asks_first_is_refused_without_a_100(router: Router) -> None:
    with connect(router) as client:
        client.sendall(head("expect: 100-continue", f"content-length: {LIMIT + 1}"))
        status, _ = read_answer(client)
        assert status == 413
        assert client.recv(1) == b""


def test_g_edge_3_who_asks_first_gets_a_100_for_a_body_that_fits(router: Router) -> None:
    with connect(router) as client:
        client.sendall(head("expect: 100-continue", "content-length: 2"))
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"{}")
        assert read_answer(client)[0] == 200


def test_g_edge_3_nothing_is_left_of_what_was_refused(router: Router) -> None:
    (plane,) = router.plane_pids()
    before = open_files(plane)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(router)) for _ in range(20)]
        for client in clients:
            client.sendall(head(f"content-length: {2 * LIMIT}") + b"x" * 1000)
            assert read_answer(client)[0] == 413
        # Half of them leave; those that do nothing more are not waited for.
        for client in clients[::2]:
            client.close()
        eventually(lambda: open_files(plane) <= before, "all connections to be closed")
    eventually(lambda: adds_up(samples(router)), "the figures")


class Probe:
    """Asks for /liveness without a pause: what it waits for is the plane's loop."""

    def __init__(self, router: Router) -> None:
        self.waits: list[float] = []
        self._stop = threading.Event()
        self._connection = connect(router)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with closing(self._connection):
            while not self._stop.is_set():
                began = time.perf_counter()
                self._connection.sendall(b"GET /liveness HTTP/1.1\r\nhost: x\r\n\r\n")
                self._connection.recv(65536)
                self.waits.append(time.perf_counter() - began)
                time.sleep(0.001)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def told(self) -> str:
        waits = sorted(self.waits)
        return ", ".join(
            f"{name} {waits[min(len(waits) - 1, int(len(waits) * part))] * 1000:.2f} ms"
            for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
        )


KINDS = {
    "text": lambda size: b'{"model":"sim-model","prompt":"' + b"x" * size + b'"}',
    "token ids": lambda size: b'{"model":"sim-model","prompt":[' + b"12345," * (size // 6) + b"1]}",
    "messages": lambda size: (
        b'{"messages":[' + b'{"role":"user","content":"how are you?"},' * (size // 41) + b'{}],"model":"sim-model"}'
    ),
}


def test_g_edge_3_others_are_answered_while_8_mb_come(router: Router) -> None:
    """What looking at them costs is in `tests/unit/dataplane/test_peek.py`, and in the full run below."""
    with connect(router) as client, connect(router) as other:
        client.sendall(head(f"content-length: {LIMIT}"))
        for number, piece in enumerate(pieces(LIMIT)):
            client.sendall(piece)
            if number % 16 == 0:
                other.sendall(b"GET /liveness HTTP/1.1\r\nhost: x\r\n\r\n")
                assert read_answer(other)[0] == 200
        assert read_answer(client)[0] == 200


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_g_edge_3_others_do_not_wait_for_8_mb(tmp_path: Path, workers: list[str], kind: str) -> None:
    """The promise is 10 ms of the loop on an idle machine; here only what no machine explains fails the test."""
    count = 200
    request = post("/sim/echo?bytes=2", KINDS[kind](8 << 20))
    with router_before(tmp_path, workers) as router, Probe(router) as probe, connect(router) as client:
        for _ in range(count):
            client.sendall(request)
            assert read_answer(client)[0] == 200
    print(f"/liveness beside {count} bodies of 8 MiB of {kind}: {probe.told()}")
    assert sorted(probe.waits)[int(len(probe.waits) * 0.99)] < 0.25


def test_g_edge_3_a_body_of_64_mb_is_held_once(tmp_path: Path, workers: list[str]) -> None:
    size = 64 << 20
    with router_before(tmp_path, workers) as router:
        (plane,) = router.plane_pids()
        before = resident(plane)
        # The worker waits before it answers, and the body with it: it could have to be sent again.
        with httpx.Client(trust_env=False, timeout=60) as client:
            asking = threading.Thread(
                target=lambda: client.post(f"{router.url}/sim/echo?bytes=1&delay_ms=1500", content=b"x" * size)
            )
            asking.start()
            peak = 0
            while asking.is_alive():
                peak = max(peak, resident(plane))
                time.sleep(0.01)
            asking.join()
        print(f"{(peak - before) / size:.2f} bytes of memory at most per byte of a body in flight")
        assert peak - before < 1.5 * size
        eventually(lambda: resident(plane) < before + size // 4, "the memory to be given back")
