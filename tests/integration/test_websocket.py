"""WebSockets through a router, both ways: what one side sends or closes with, the other one gets."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from socket import SHUT_RDWR
from typing import Any

import httpx
import pytest
import websockets.exceptions
from websockets.sync.client import ClientConnection, connect

from tests.integration.routers import Router, eventually, router_before, samples, simulated_fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("sockets"), 2, "--time-scale=0") as urls:
        yield urls


@pytest.fixture(scope="module")
def router(fleet: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with router_before(tmp_path_factory.mktemp("router"), fleet, "--cb-failure-threshold=1000") as one:
        yield one


def to(router: Router, path: str, **options: Any) -> ClientConnection:
    """A socket through the router."""
    opened: ClientConnection = connect(
        f"ws{router.url.removeprefix('http')}{path}", max_size=None, compression=None, **options
    )
    return opened


def recorded(fleet: list[str]) -> list[dict[str, Any]]:
    """What the workers know of the handshakes that came to them."""
    return [
        one
        for url in fleet
        for one in httpx.get(f"{url}/sim/requests", trust_env=False).json()["requests"]
        if one["status"] == 101
    ]


def test_a_thousand_frames_come_back(router: Router) -> None:
    with to(router, "/sim/echo/socket") as socket:
        for number in range(1000):
            message: str | bytes = f"frame {number} \u00e4" if number % 2 else bytes([number % 256]) * (number % 300)
            socket.send(message)
            assert socket.recv() == message


def test_frames_sent_ahead_come_back_in_their_order(router: Router) -> None:
    with to(router, "/sim/echo/socket") as socket:
        for number in range(300):
            socket.send(str(number))
        assert [socket.recv() for _ in range(300)] == [str(number) for number in range(300)]


def test_a_large_message_comes_back_whole(router: Router) -> None:
    with to(router, "/sim/echo/socket") as socket:
        message = bytes(range(256)) * 12_000
        socket.send(message)
        assert socket.recv() == message


def test_speech_in_real_time(router: Router, fleet: list[str]) -> None:
    with to(router, "/v1/realtime?model=sim-model", additional_headers={"x-request-id": "my-session"}) as socket:
        events = [json.loads(socket.recv())]
        for event in (
            {"type": "session.update", "model": "sim-model"},
            {"type": "input_audio_buffer.commit"},
            {"type": "input_audio_buffer.append", "audio": b64encode(bytes(320)).decode()},
            {"type": "input_audio_buffer.commit", "final": True},
        ):
            socket.send(json.dumps(event))
        events += [json.loads(socket.recv()) for _ in range(2)]
        assert [event["type"] for event in events] == ["session.created", "transcription.delta", "transcription.done"]
    ours = [one for one in recorded(fleet) if ["x-request-id", "my-session"] in one["headers"]]
    assert [one["target"] for one in ours] == ["/v1/realtime?model=sim-model"]


def test_the_clients_leaving_closes_the_workers_side(router: Router, fleet: list[str]) -> None:
    with to(router, "/sim/echo/socket") as socket:
        socket.send("x")
        socket.recv()
        socket.close(4001, "enough")
    with to(router, "/sim/echo/socket") as broken:
        broken.send("x")
        broken.recv()
        broken.socket.shutdown(SHUT_RDWR)
    eventually(lambda: all(one["outcome"] == "finished" for one in recorded(fleet)), "the workers' sides to end")
    eventually(lambda: samples(router)["routerctl_active_requests"] == 0, "no request to be open")


def test_a_refusal_is_the_workers_or_the_routers_own(router: Router) -> None:
    for path, words in (("/v1/nothing", b'{"detail":"Not Found"}'), ("/v1/realtime?model=nope", b"model_not_found")):
        with pytest.raises(websockets.exceptions.InvalidStatus) as caught, to(router, path):
            pass
        assert caught.value.response.status_code == 404
        assert words in caught.value.response.body


def test_the_workers_death_closes_the_clients_side(router: Router, fleet: list[str]) -> None:
    """The last one: a worker is dead afterwards."""
    codes = []
    with ExitStack() as stack:
        sockets = [stack.enter_context(to(router, "/sim/echo/socket")) for _ in range(4)]
        for socket in sockets:
            socket.send("x")
            socket.recv()
        httpx.post(f"{fleet[0]}/sim/faults", json={"name": "die", "worker": True}, trust_env=False)
        for socket in sockets:
            try:
                socket.send("x")
                assert socket.recv() == "x"
            except websockets.exceptions.ConnectionClosed:
                codes.append(socket.protocol.close_code)
    assert codes == [1011, 1011]
    with to(router, "/sim/echo/socket") as socket:
        socket.send("the other worker")
        assert socket.recv() == "the other worker"
    eventually(lambda: samples(router)["routerctl_active_requests"] == 0, "no request to be open")
