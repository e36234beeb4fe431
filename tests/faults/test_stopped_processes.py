"""A process that is stopped for a while and goes on (SIGSTOP, a frozen container): its own pause is nobody's fault."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.crew import Crew, go_on, stop
from tests.faults.edge import chat
from tests.faults.load import Load
from tests.integration.routers import eventually, simulated_fleet

LIMIT = 2.0
"""Seconds: the time limits that must not be taken for overrun because the router itself stood."""
FULL = [pytest.mark.slow, pytest.mark.timeout(600)]
STOPS = [(1, 3.5), pytest.param(2, 3.5, marks=FULL), pytest.param(2, 30.0, marks=FULL)]
"""How often a process is stopped, and for how many seconds each time."""


@contextmanager
def crew_of_two(folder: Path, workers: list[str], **config: object) -> Iterator[Crew]:
    crew = Crew(folder, workers, data_planes=2, **config)
    try:
        yield crew.start(planes=2)
    finally:
        crew.close()


def stand(seconds: float) -> None:
    """Let the time pass for which a process stands: it is the fault that is tested."""
    time.sleep(seconds)


@pytest.mark.parametrize(("stops", "pause"), STOPS)
def test_a_plane_that_stood_goes_on_where_it_was(tmp_path: Path, stops: int, pause: float) -> None:
    limits = {
        "stream_idle_timeout_secs": LIMIT,
        "response_header_timeout_secs": LIMIT,
        "client_body_timeout_secs": LIMIT,
        "cb_failure_threshold": 1,
    }
    with (
        # Streams whose workers never pause for long: a chunk each 50 ms.
        simulated_fleet(tmp_path, 2, "--decode-ms=50", "--record=0") as streaming,
        quick_fleet(tmp_path / "quick") as quick,
        crew_of_two(tmp_path, [*streaming, *quick], **limits, health_check_interval_secs=1) as crew,
    ):
        streams = [Stream(crew.config.port, tokens=int(20 * (stops * pause + 3))) for _ in range(24)]
        uploads = [Upload(crew.config.port) for _ in range(24)]
        eventually(lambda: all(stream.received for stream in streams), "every stream to begin")
        # So that it is stopped at its work now and then, and not always while it waits.
        plane = crew.planes[0]
        load = Load(crew.url, 6)
        with load:
            eventually(lambda: load.total > 50, "the first answers")
            for number in range(stops):
                stop(plane.process)
                stand(pause)
                # What it misses meanwhile.
                change = crew.change("POST", f"/workers/{quoted(quick[0])}/{('drain', 'undrain')[number % 2]}")
                assert change.status_code == 200
                go_on(plane.process)
                crew.level()
                answered = [count + 5 for count in load.answered]
                eventually(
                    lambda: all(now >= then for now, then in zip(load.answered, answered, strict=True)),  # noqa: B023
                    "every client to be answered again",
                )
        assert load.failed == []
        for stream in streams:
            stream.join()
        for upload in uploads:
            upload.finish()
        assert {stream.fault for stream in streams} == {None}
        assert {upload.fault for upload in uploads} == {None}
        assert {worker.breaker for worker in crew.kept().values()} == {None}
        assert "stands still" not in crew.logged
        eventually(lambda: crew.all_planes(lambda told: told.active == 0), "nothing to stay open")


@contextmanager
def quick_fleet(folder: Path) -> Iterator[list[str]]:
    folder.mkdir()
    with simulated_fleet(folder, 2, "--time-scale=0", "--record=0") as urls:
        yield urls


def quoted(url: str) -> str:
    return url.replace(":", "%3A").replace("/", "%2F")


class Stream(threading.Thread):
    """A client that reads one stream to its end; `fault` tells what was wrong with it."""

    def __init__(self, port: int, tokens: int) -> None:
        super().__init__(daemon=True)
        self.received = 0
        self.fault: str | None = None
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._connection.settimeout(120)
        self._connection.sendall(chat(tokens=tokens, stream=True))
        self.start()

    def run(self) -> None:
        whole = b""
        with self._connection:
            while b"0\r\n\r\n" not in whole[-64:]:
                part = self._connection.recv(65536)
                self.received += len(part)
                whole += part
                if not part:
                    self.fault = f"cut off: {whole[-300:]!r}"
                    return
        if not whole.startswith(b"HTTP/1.1 200") or b"data: [DONE]" not in whole:
            self.fault = f"no whole stream: {whole[:100]!r} .. {whole[-300:]!r}"


class Upload(threading.Thread):
    """A client that sends its body a little at a time, until it is told to finish."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.fault: str | None = None
        self._last = threading.Event()
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._connection.settimeout(120)
        self.start()

    def run(self) -> None:
        head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        with self._connection:
            try:
                self._connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n" + chunk(b'{"max_tokens": 1, '))
                while not self._last.wait(LIMIT / 5):
                    self._connection.sendall(chunk(b" "))
                self._connection.sendall(chunk(b'"model": "sim-model", "prompt": "x"}') + chunk(b""))
                answer = self._connection.recv(65536)
            except OSError as error:
                self.fault = repr(error)
                return
        if not answer.startswith(b"HTTP/1.1 200"):
            self.fault = repr(answer[:300])

    def finish(self) -> None:
        """Send the rest, and wait for the answer."""
        self._last.set()
        self.join()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(("stops", "pause"), STOPS)
def test_a_control_plane_that_stood_blames_no_worker(tmp_path: Path, stops: int, pause: float) -> None:
    # One failed look takes a worker out, and there is always a look under way.
    checks = {"health_failure_threshold": 1, "health_check_interval_secs": 1, "health_check_timeout_secs": 1}
    with (
        simulated_fleet(tmp_path, 6, "--time-scale=0", "--record=0", "--fault=slow=0.4,path=/health") as workers,
        crew_of_two(tmp_path, workers, **checks) as crew,
        Load(crew.url, 4) as load,
    ):
        eventually(lambda: load.total > 100, "the first answers")
        crew.level()
        before = crew.kept()
        assert {worker.state for worker in before.values()} == {"ready"}
        for _ in range(stops):
            answered = load.total
            stop(crew.control_plane)
            eventually(lambda: crew.all_planes(lambda told: told.stale), "the planes to know that they are alone")
            stand(pause)
            assert load.total > answered
            go_on(crew.control_plane)
            crew.level()
            # Looks are a second apart, and each takes less: every worker was looked at again.
            stand(2.0)
            assert "is unhealthy" not in crew.logged, crew.logged[-2000:]
        assert {key: (one.state, one.epoch, one.breaker) for key, one in crew.kept().items()} == {
            key: ("ready", one.epoch, None) for key, one in before.items()
        }
    assert load.failed == []
