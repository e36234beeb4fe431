"""HTTP/1.1 itself: keep-alive, pipelining, bodies of every kind, and a client that does not read."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket

import pytest

from .client import CHAT, COMPLETION, Client, ask, run, simulator, state, until


def test_a_connection_serves_one_request_after_another() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            client = await Client.to(url)
            for _ in range(3):
                assert (await client.ask("POST", "/v1/completions", COMPLETION)).status == 200
            assert (await state(url))["connections"] == 2
            await client.close()

    run(main())


def test_requests_sent_ahead_are_answered_in_order() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            client = await Client.to(url)
            for index in range(500):
                client.send("GET", f"/sim/echo?delay_ms={index % 2}", headers={"x-index": str(index)})
            for index in range(500):
                answer = await client.answer()
                assert ["x-index", str(index)] in answer.json["headers"]
            await client.close()

    run(main())


def test_an_idle_connection_is_closed() -> None:
    async def main() -> None:
        async with simulator(idle_close_seconds=0.05) as [url]:
            client = await Client.to(url)
            assert (await client.ask("GET", "/health")).header("connection") is None
            assert await client.reader.read() == b""
            await client.close()

    run(main())


@pytest.mark.parametrize("scale", [0, 0.2])
def test_connection_close_is_honoured(scale: float) -> None:
    async def main() -> None:
        async with simulator(time_scale=scale) as [url]:
            client = await Client.to(url)
            client.send("POST", "/v1/chat/completions", {**CHAT, "stream": True}, {"connection": "close"})
            answer = await client.answer()
            assert answer.header("connection") == "close"
            assert answer.body.endswith(b"data: [DONE]\n\n")
            assert await client.reader.read() == b""
            await client.close()

    run(main())


def test_a_chunked_request_body_arrives_whole() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            client = await Client.to(url)
            client.writer.write(b"POST /sim/echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            for piece in (b"5\r\nhello\r\n", b"6\r\n world\r\n", b"0\r\n\r\n"):
                client.writer.write(piece)
                await client.writer.drain()
            answer = (await client.answer()).json
            assert answer["sha256"] == hashlib.sha256(b"hello world").hexdigest()
            assert answer["body_length"] == 11
            await client.close()

    run(main())


def test_a_client_that_waits_to_send_its_body_is_told_to_go_on() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            client = await Client.to(url)
            client.writer.write(
                b"POST /sim/echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
            )
            assert await client.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.writer.write(b"ok")
            assert (await client.answer()).json["body_length"] == 2
            await client.close()

    run(main())


@pytest.mark.parametrize("head", [b"content-length: 101", b"transfer-encoding: chunked"])
def test_a_body_over_the_limit_is_refused(head: bytes) -> None:
    async def main() -> None:
        async with simulator(max_body_bytes=100) as [url]:
            client = await Client.to(url)
            client.writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: a\r\n" + head + b"\r\n\r\n")
            client.writer.write(b"65\r\n" + b"x" * 101)
            assert (await client.answer()).status == 413
            assert await client.reader.read() == b""
            await client.close()
            assert (await ask(url, "POST", "/sim/echo", b"x" * 100)).status == 200

    run(main())


def test_what_is_no_http_is_refused() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            client = await Client.to(url)
            client.writer.write(b"hello\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.body) == (400, b"Invalid HTTP request received.")
            await client.close()

    run(main())


def test_a_head_request_has_no_body() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            client = await Client.to(url)
            answer = await client.ask("HEAD", "/sim/echo?bytes=1000")
            assert answer.header("content-length") == "1000"
            assert (await client.ask("GET", "/health")).status == 200
            await client.close()

    run(main())


def test_every_request_is_recorded_as_it_came() -> None:
    async def main() -> None:
        async with simulator(record=2) as [url]:
            body = json.dumps(COMPLETION).encode()
            for target in ("/v1/models", "/v1/completions?a=%20b", "/nothing"):
                await ask(url, "POST", target, body, {"X-Mixed-Case": "caf\xe9"})
            seen = (await ask(url, "GET", "/sim/requests")).json
            assert (seen["received"], seen["finished"], seen["active"]) == (3, 3, 0)
            assert [one["target"] for one in seen["requests"]] == ["/v1/completions?a=%20b", "/nothing"]
            one = seen["requests"][0]
            assert one["headers"][0] == ["host", "sim"]
            assert base64.b64decode(one["body"]) == body
            assert one["sha256"] == hashlib.sha256(body).hexdigest()
            assert (one["method"], one["status"], one["outcome"]) == ("POST", 200, "finished")
            assert (await ask(url, "DELETE", "/sim/requests")).status == 200
            assert (await ask(url, "GET", "/sim/requests")).json["requests"] == []

    run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_frees_slot_and_blocks(stream: bool) -> None:
    async def main() -> None:
        async with simulator(time_scale=1, max_num_seqs=1) as [url]:
            clients = [await Client.to(url) for _ in range(2)]
            for client in clients:
                client.send("POST", "/v1/completions", {**COMPLETION, "max_tokens": 30000, "stream": stream})

            async def busy() -> bool:
                figures = (await state(url))["engine"]
                return (figures["running"], figures["waiting"]) == (1, 1)

            await until(busy)
            assert (await state(url))["engine"]["blocks_referenced"] > 0
            for client in clients:
                client.abort()

            async def freed() -> bool:
                return bool((await state(url))["aborted"] == 2)

            await until(freed)
            engine = (await state(url))["engine"]
            assert (engine["running"], engine["waiting"], engine["blocks_referenced"]) == (0, 0, 0)
            assert engine["aborts"] == 2
            records = (await ask(url, "GET", "/sim/requests")).json["requests"]
            assert [record["outcome"] for record in records] == ["aborted", "aborted"]

    run(main())


def test_a_reader_that_stops_stops_the_sender() -> None:
    async def main() -> None:
        async with simulator(max_model_len=100_000) as [url]:
            narrow = socket.socket()
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            narrow.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            client = Client(*await asyncio.open_connection(sock=narrow, limit=4096))
            client.send("POST", "/v1/completions", {**COMPLETION, "max_tokens": 90_000, "stream": True})
            await client.head()
            # The engine is done at once; what is not sent yet is held as a counter, not as bytes.
            assert (await state(url))["engine"]["generation_tokens"] == 90_000
            assert (await state(url))["active"] == 1
            events = 0
            while chunk := await client.chunk():
                events += chunk.startswith(b"data: {")
            assert events == 90_000
            assert (await state(url))["active"] == 0
            await client.close()

    run(main())
