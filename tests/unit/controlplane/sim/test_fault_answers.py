"""Each fault as a client sees it."""

from __future__ import annotations

from typing import Any

import pytest

from .client import CHAT, COMPLETION, Client, ask, run, simulator, state, until

STREAM = {**COMPLETION, "stream": True, "max_tokens": 10}


async def put(url: str, **fault: Any) -> None:
    answer = await ask(url, "POST", "/sim/faults", fault)
    assert answer.status == 200, answer.body


async def refused(url: str) -> bool:
    try:
        client = await Client.to(url)
    except ConnectionRefusedError:
        return True
    await client.close()
    return False


def test_status_and_its_end() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="status", status=503, first=1, retry_after=7)
            answer = await ask(url, "POST", "/v1/completions", COMPLETION)
            assert (answer.status, answer.header("retry-after")) == (503, "7")
            assert answer.json["error"]["code"] == 503
            assert (await ask(url, "POST", "/v1/completions", COMPLETION)).status == 200
            await put(url, name="status", status=500)
            listed = (await ask(url, "GET", "/sim/faults")).json["faults"]
            assert [(fault["name"], fault["status"]) for fault in listed] == [("status", 500)]
            assert (await ask(url, "GET", "/health")).status == 200
            await ask(url, "DELETE", "/sim/faults")
            assert (await ask(url, "POST", "/v1/completions", COMPLETION)).status == 200

    run(main())


def test_a_wrong_fault_is_refused() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            answer = await ask(url, "POST", "/sim/faults", {"name": "status", "status": 200})
            assert (answer.status, answer.json["error"]["message"]) == (400, "status 200 is outside 400..599")

    run(main())


def test_slow_waits_before_the_headers() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="slow", seconds=3600)
            client = await Client.to(url)
            client.send("POST", "/v1/completions", COMPLETION)

            async def active() -> bool:
                return bool((await state(url))["active"] == 1)

            await until(active)
            await put(url, name="slow", seconds=0.01)
            assert (await ask(url, "POST", "/v1/completions", COMPLETION)).status == 200
            client.abort()

    run(main())


def test_stall_never_answers_and_keeps_the_connection() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="stall")
            client = await Client.to(url)
            client.send("POST", "/v1/completions", COMPLETION)

            async def active() -> bool:
                return bool((await state(url))["active"] == 1)

            await until(active)
            client.abort()

            async def aborted() -> bool:
                return bool((await state(url))["aborted"] == 1)

            await until(aborted)

    run(main())


def test_stall_after_chunks() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="stall", after_chunks=3)
            client = await Client.to(url)
            client.send("POST", "/v1/completions", STREAM)
            await client.head()
            for _ in range(3):
                await client.chunk()
            assert (await state(url))["active"] == 1
            client.abort()

    run(main())


@pytest.mark.parametrize("scale", [0, 0.1])
@pytest.mark.parametrize("chunks", [None, 0, 3])
def test_die_resets(chunks: int | None, scale: float) -> None:
    async def main() -> None:
        async with simulator(time_scale=scale) as [url]:
            await put(url, name="die", after_chunks=chunks)
            client = await Client.to(url)
            client.send("POST", "/v1/completions", STREAM)
            if chunks is not None:
                await client.head()
                for _ in range(chunks):
                    await client.chunk()
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1)
            figures = await state(url)
            assert (figures["killed"], figures["engine"]["running"]) == (1, 0)
            await client.close()

    run(main())


def test_die_in_a_whole_answer_cuts_its_body() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="die", after_chunks=1)
            client = await Client.to(url)
            client.send("POST", "/v1/completions", COMPLETION)
            _, headers = await client.head()
            half = int(dict(headers)["content-length"]) // 2
            assert len(await client.reader.readexactly(half)) == half
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1)
            await client.close()

    run(main())


def test_a_dead_worker_is_revived_through_another() -> None:
    async def main() -> None:
        async with simulator(count=2) as [one, other]:
            client = await Client.to(one)
            assert (await client.ask("GET", "/health")).status == 200
            await put(one, name="die", worker=True)
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1)
            assert await refused(one)
            assert (await ask(other, "GET", "/sim/workers/0/faults")).json["faults"][0]["name"] == "die"
            assert (await ask(other, "DELETE", "/sim/workers/0/faults")).status == 200
            assert (await ask(one, "GET", "/health")).status == 200
            await client.close()

    run(main())


def test_a_worker_dies_in_the_middle_of_an_answer() -> None:
    async def main() -> None:
        async with simulator(count=2) as [one, other]:
            await put(one, name="die", worker=True, after_chunks=2)
            idle = await Client.to(one)
            assert (await idle.ask("GET", "/health")).status == 200
            client = await Client.to(one)
            client.send("POST", "/v1/completions", STREAM)
            await client.head()
            await client.chunk()
            await client.chunk()
            for reset in (client, idle):
                with pytest.raises(ConnectionResetError):
                    await reset.reader.readexactly(1)
                await reset.close()
            assert await refused(one)
            assert (await ask(other, "GET", "/sim/workers/0/state")).json["killed"] == 1

    run(main())


def test_refuse_lets_requests_under_way_end() -> None:
    async def main() -> None:
        async with simulator(count=2, time_scale=0.1) as [one, other]:
            idle, busy = await Client.to(one), await Client.to(one)
            assert (await idle.ask("GET", "/health")).status == 200
            busy.send("POST", "/v1/chat/completions", {**CHAT, "stream": True, "max_tokens": 20})
            await busy.head()
            assert (await ask(other, "POST", "/sim/workers/0/faults", {"name": "refuse"})).status == 200
            assert await refused(one)
            assert await idle.reader.read() == b""
            while await busy.chunk():
                pass
            assert (await ask(other, "DELETE", "/sim/workers/0/faults?name=refuse")).status == 200
            assert not await refused(one)
            for client in (idle, busy):
                await client.close()

    run(main())


def test_bad_chunk() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="bad_chunk", after_chunks=2)
            client = await Client.to(url)
            client.send("POST", "/v1/completions", STREAM)
            await client.head()
            await client.chunk()
            await client.chunk()
            assert (await client.reader.read()).startswith(b"zz\r\n")
            client.abort()
            client = await Client.to(url)
            client.send("POST", "/v1/completions", COMPLETION)
            _, headers = await client.head()
            assert ("transfer-encoding", "chunked") in headers
            assert (await client.reader.read()).startswith(b"zz\r\n")
            await client.close()

    run(main())


def test_short_body() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="short_body", missing=5)
            client = await Client.to(url)
            client.send("POST", "/v1/completions", COMPLETION)
            _, headers = await client.head()
            assert int(dict(headers)["content-length"]) == len(await client.reader.read()) + 5
            await client.close()
            client = await Client.to(url)
            client.send("POST", "/v1/completions", STREAM)
            await client.head()
            assert (await client.reader.read()).endswith(b"data: [DONE]\n\n\r\n")
            await client.close()

    run(main())


@pytest.mark.parametrize("body", [COMPLETION, STREAM])
def test_extra_bytes(body: dict[str, Any]) -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="extra_bytes", count=3)
            client = await Client.to(url)
            assert (await client.ask("POST", "/v1/completions", body)).status == 200
            assert await client.reader.readexactly(3) == b"xxx"
            assert (await client.ask("GET", "/health")).status == 200
            await client.close()

    run(main())


def test_close_idle_closes_without_a_word() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="close_idle")
            client = await Client.to(url)
            answer = await client.ask("POST", "/v1/completions", COMPLETION)
            assert (answer.status, answer.header("connection")) == (200, None)
            assert await client.reader.read() == b""
            await client.close()

    run(main())


def test_error_event() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            await put(url, name="error_event")
            stream = await ask(url, "POST", "/v1/completions", STREAM)
            assert stream.status == 200
            assert stream.chunks[0].startswith(b'data: {"error":{"message":"Internal server error"')
            assert stream.chunks[1:] == [b"data: [DONE]\n\n"]
            assert (await ask(url, "POST", "/v1/completions", COMPLETION)).status == 500

    run(main())
