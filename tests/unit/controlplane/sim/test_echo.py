from __future__ import annotations

import hashlib

import pytest

from controlplane.sim.echo import pattern

from .client import ask, run, simulator


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_is_described(method: str) -> None:
    async def main() -> None:
        async with simulator() as [url]:
            answer = await ask(url, method, "/sim/echo/a/b?c=d", b"body", {"X-One": "1"})
            assert answer.json["method"] == method
            assert answer.json["target"] == "/sim/echo/a/b?c=d"
            assert ["X-One", "1"] in answer.json["headers"]
            assert answer.json["sha256"] == hashlib.sha256(b"body").hexdigest()

    run(main())


def test_the_query_shapes_the_answer() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            sized = await ask(url, "GET", "/sim/echo?bytes=1000000&header=x-a:1&header=X-a:2")
            assert sized.body == pattern(1_000_000)
            assert [pair for pair in sized.headers if pair[0].lower() == "x-a"] == [("x-a", "1"), ("X-a", "2")]
            chunked = await ask(url, "GET", "/sim/echo?chunks=4&size=10&delay_ms=1&status=203")
            assert (chunked.status, [len(chunk) for chunk in chunked.chunks]) == (203, [10] * 4)
            assert chunked.body == pattern(40)
            assert (await ask(url, "GET", "/sim/echo?status=204")).header("content-length") is None
            assert (await ask(url, "GET", "/sim/echo?bytes=0")).body == b""
            assert (await ask(url, "GET", "/sim/echo?chunks=0")).chunks == []

    run(main())


@pytest.mark.parametrize("query", ["status=99", "bytes=x", "bytes=-1", "size=0&chunks=1", "header=oops"])
def test_a_wrong_query_is_refused(query: str) -> None:
    async def main() -> None:
        async with simulator() as [url]:
            assert (await ask(url, "GET", f"/sim/echo?{query}")).status == 400

    run(main())
