"""G-CP-5 and G-CP-2 under load: planes are replaced, killed and stopped while clients that forgive nothing ask on."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.faults.crew import state_of
from tests.faults.hard_clients import HardClients
from tests.faults.leaving import Finishes, body_of
from tests.faults.watched_worker import event, watched_worker
from tests.integration.routers import PATIENCE, Router, eventually, router_before, simulated_fleet

ROLLS = [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 2, "--record=0") as urls:
        yield urls


def restart(router: Router) -> list[dict[str, object]]:
    eventually(lambda: connects(router.admin_port), "the admin API")
    url = f"http://127.0.0.1:{router.admin_port}/planes/restart"
    answer = httpx.post(url, trust_env=False, timeout=100)
    assert answer.status_code == 200, answer.text
    planes: list[dict[str, object]] = answer.json()["planes"]
    return planes


def connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def more_answers(load: HardClients, count: int) -> None:
    goal = load.total + count
    eventually(lambda: load.total >= goal or bool(load.failed), f"{count} more answers")


@pytest.mark.parametrize("rolls", ROLLS)
def test_g_cp_5_rolling_restarts_fail_no_request(tmp_path: Path, workers: list[str], rolls: int) -> None:
    with router_before(tmp_path, workers, planes=2) as router:
        with HardClients(router.port, kept=6, new=3, streams=3) as load:
            eventually(lambda: min(load.answered.values()) > 2, "every kind of client to be answered")
            for _ in range(rolls):
                before = router.plane_pids()
                planes = restart(router)
                assert {plane["outcome"] for plane in planes} == {"restarted"}
                assert not {plane["new_pid"] for plane in planes} & before
                more_answers(load, 50)
        assert load.failed == []
        eventually(lambda: len(router.plane_pids()) == 2, "the old planes' ends")
        assert router.stop() == 0


def test_g_cp_5_streams_finish_within_one_grace_time_for_all(tmp_path: Path) -> None:
    """The planes' streams are longer than the roll: all go on side by side, and the router is done when they are."""
    with (
        watched_worker() as worker,
        router_before(tmp_path, [worker.url], "--shutdown-grace-secs=30", planes=3) as router,
    ):
        streams = [Finishes(router) for _ in range(9)]
        for stream in streams:
            stream.ask(body_of("steady"))
            stream.wait_until(lambda received: event(1) in received)
        before = router.plane_pids()
        restart(router)
        assert len(router.plane_pids() & before) > 1, "old planes were waited for one after the other"
        worker.enough.set()
        for stream in streams:
            stream.wait_until(lambda received: b"[DONE]" in received)
            stream.clean_up()
        eventually(lambda: len(router.plane_pids()) == 3, "the old planes' ends")


def open_requests(router: Router) -> int:
    status = httpx.get(f"http://127.0.0.1:{router.admin_port}/planes", trust_env=False).json()
    return sum(plane["active"] for plane in status["planes"])


def test_g_cp_5_a_replaced_plane_never_says_that_the_router_is_not_ready(tmp_path: Path, workers: list[str]) -> None:
    """Also with a drain delay, which is for load balancers when the whole router stops."""
    with router_before(tmp_path, workers, "--drain-delay-secs=60", planes=1) as router:
        with closing(http.client.HTTPConnection("127.0.0.1", router.port)) as kept:
            assert get(kept, "/readiness") == (200, None)
            old = router.plane_pids()
            restart(router)
            eventually(lambda: said_draining(router), "the old plane to drain")
            assert get(kept, "/readiness") == (200, "close")
        # And it does not wait out the delay.
        eventually(lambda: not router.plane_pids() & old, "the old plane's end")


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str | None]:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("connection")


def said_draining(router: Router) -> bool:
    return " draining: " in router.errors


def test_g_cp_5_a_kept_connection_is_not_closed_in_haste(tmp_path: Path, workers: list[str]) -> None:
    """Its client sends again a while after its plane was replaced: it is answered, and only then told to go."""
    with router_before(tmp_path, workers, planes=1) as router:
        kept = http.client.HTTPConnection("127.0.0.1", router.port)
        with closing(kept):
            assert get(kept, "/v1/models") == (200, None)
            restart(router)
            eventually(lambda: said_draining(router), "the old plane to drain")
            time.sleep(2.0)
            assert get(kept, "/v1/models") == (200, "close")
        # With nobody left it need not wait.
        eventually(lambda: len(router.plane_pids()) == 1, "the old plane's end")


def test_g_cp_5_clients_that_wait_in_the_queue_go_to_the_successor(tmp_path: Path, workers: list[str]) -> None:
    """The old plane gave its socket away and does not accept: whoever has the socket finds the client waiting there."""
    with router_before(tmp_path, workers, planes=1) as router:
        (old,) = router.plane_pids()
        (record,) = router.runtime.planes.glob("*.json")
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(router.runtime.plane_handover(record.stem)))
            _, (descriptor,), _, _ = socket.recv_fds(asking, 1, 1)
        with socket.socket(fileno=descriptor) as listening, closing(socket.socket()) as client:
            assert listening.getsockname()[1] == router.port
            os.kill(old, signal.SIGSTOP)
            # Until it stands it could take the client itself.
            eventually(lambda: state_of(old) == "T", "the plane to stand")
            try:
                client.connect(("127.0.0.1", router.port))
                client.sendall(b"GET /liveness HTTP/1.1\r\nhost: x\r\n\r\n")
                listening.setblocking(True)
                taken, _ = listening.accept()
                assert taken.recv(100).startswith(b"GET /liveness")
                taken.close()
            finally:
                os.kill(old, signal.SIGCONT)


def test_g_cp_5_surplus_planes_leave_without_a_reset(tmp_path: Path, workers: list[str]) -> None:
    with router_before(tmp_path, workers, planes=3) as router:
        router.kill_supervisor()
        with HardClients(router.port, kept=4, new=4) as load:
            router.start("--data-planes=1").ready()
            eventually(lambda: len(router.plane_pids()) == 1, "the surplus planes' ends")
            more_answers(load, 50)
        assert load.failed == []


def test_g_cp_5_adopted_and_outdated_planes_are_replaced_without_a_reset(tmp_path: Path, workers: list[str]) -> None:
    with router_before(tmp_path, workers, planes=2) as router:
        with HardClients(router.port, kept=4, new=2, streams=2) as load:
            before = router.plane_pids()
            router.kill_supervisor()
            router.start("--shutdown-grace-secs=20").ready()
            eventually(lambda: not router.plane_pids() & before, "new planes for the new settings")
            router.kill_supervisor()
            router.start("--shutdown-grace-secs=20").ready()
            restart(router)
            more_answers(load, 50)
        assert load.failed == []


def test_g_cp_5_a_second_sigterm_ends_at_once(tmp_path: Path, workers: list[str]) -> None:
    with (
        router_before(tmp_path, workers, "--drain-delay-secs=60", planes=2) as router,
        HardClients(router.port, streams=2, tokens=2000) as load,
    ):
        eventually(lambda: open_requests(router) == 2, "open streams")
        router.process.send_signal(signal.SIGTERM)
        eventually(lambda: "second signal kills at once" in router.errors, "it to stop")
        router.process.send_signal(signal.SIGTERM)
        assert router.process.wait(PATIENCE) == 1
        assert router.survivors() == []
        eventually(lambda: bool(load.failed), "the streams' ends")
