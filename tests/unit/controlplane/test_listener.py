import asyncio
import os
import socket
import ssl
from pathlib import Path

import httpx
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from controlplane import listener as module
from controlplane.listener import Listener
from shared.config import ConfigError
from shared.server_tls import ServerTls


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


def mismatched(folder: Path) -> tuple[ServerTls, trustme.CA, trustme.LeafCert]:
    """Files whose certificate is not of the key, the authority, and what would make them whole."""
    authority = trustme.CA()
    tls = ServerTls(str(folder / "cert"), str(folder / "key"), None, ("--admin-tls-cert", "--admin-tls-key", ""))
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(tls.key)
    authority.issue_cert("127.0.0.1").cert_chain_pems[0].write_to_path(tls.cert)
    return tls, authority, leaf


def test_a_certificate_of_another_key_is_said_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    monkeypatch.setattr(module, "_LONG_RETRY_PAUSE", 0.1)
    tls, authority, leaf = mismatched(tmp_path)

    async def run() -> None:
        with stranger() as taken:
            port: int = taken.getsockname()[1]
        waiting = Listener(APPLICATION, flag="--admin-port", host="127.0.0.1", port=port, required=False, tls=tls)
        task = asyncio.ensure_future(waiting.run())
        await asyncio.wait((task, asyncio.ensure_future(waiting.settled.wait())), return_when="FIRST_COMPLETED")
        assert not task.done()
        leaf.cert_chain_pems[0].write_to_path(tls.cert)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False, verify=context) as client:
            while True:
                try:
                    assert (await client.get(f"https://127.0.0.1:{port}/")).text == "hello"
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
    [told] = [one.message for one in caplog.records if one.levelname == "ERROR"]
    assert f"--admin-tls-key {tls.key}" in told
    assert told.endswith("; still trying")


def test_a_first_start_with_a_certificate_of_another_key_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    tls, _, _ = mismatched(tmp_path)
    with stranger() as taken:
        port: int = taken.getsockname()[1]
    first = Listener(APPLICATION, flag="--admin-port", host="127.0.0.1", port=port, required=True, tls=tls)
    with pytest.raises(ConfigError, match="--admin-tls-key"):
        asyncio.run(first.run())
