import asyncio
import os
import socket

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from controlplane.listener import Listener
from shared.config import ConfigError


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


APPLICATION = Starlette(routes=[Route("/", hello)])


def listener(port: int, *, required: bool) -> Listener:
    return Listener(APPLICATION, flag="--admin-port", host="127.0.0.1", port=port, required=required)


async def answer(port: int) -> str:
    async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/")).text
            except httpx.TransportError:
                await asyncio.sleep(0.01)


def stranger() -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


def test_it_serves_until_cancelled_and_leaves_the_port_free() -> None:
    async def run() -> None:
        with stranger() as taken:
            port: int = taken.getsockname()[1]
        for _ in range(2):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(listener(port, required=True).run())
                assert await answer(port) == "hello"
                task.cancel()

    asyncio.run(run())


def test_it_is_settled_when_the_port_answers() -> None:
    async def run() -> None:
        with stranger() as taken:
            port: int = taken.getsockname()[1]
        served = listener(port, required=True)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(served.run())
            await asyncio.wait_for(served.settled.wait(), 30)
            async with httpx.AsyncClient(trust_env=False) as client:
                assert (await client.get(f"http://127.0.0.1:{port}/")).text == "hello"
            task.cancel()

    asyncio.run(run())


def test_a_port_that_a_stranger_shares_is_refused_in_one_line() -> None:
    with stranger() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            asyncio.run(listener(port, required=True).run())
    told = str(caught.value)
    assert told.startswith(f"can not listen on 127.0.0.1:{port}: process {os.getpid()} (")
    assert told.endswith(") listens on that port; stop it, or choose another port with --admin-port")


def test_a_port_that_is_not_required_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        with stranger() as taken:
            port: int = taken.getsockname()[1]
            waiting = listener(port, required=False)
            task = asyncio.ensure_future(waiting.run())
            await asyncio.wait_for(waiting.settled.wait(), 30)
        assert await answer(port) == "hello"
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
    assert "still trying" in caplog.records[0].message
