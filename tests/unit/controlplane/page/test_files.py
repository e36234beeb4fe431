"""The page's files: what they may load, that they are in the wheel, and how a browser keeps them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from hatchling.builders.wheel import WheelBuilder
from starlette.applications import Starlette

from controlplane.page.files import file_routes, is_page_file, page_files

ROOT = Path(__file__).parents[4]
STATIC = ROOT / "controlplane" / "page" / "static"


def get(path: str, **headers: str) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=Starlette(routes=file_routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(run())


def test_every_file_is_served_and_is_in_the_wheel() -> None:
    names = {path.name for path in STATIC.iterdir()}
    assert names == set(page_files())
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {f"controlplane/page/static/{name}" for name in names} <= packed


def test_the_browser_is_held_to_these_files() -> None:
    answer = get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not any("unsafe" in part or "http" in part or "*" in part for part in policy)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", sorted(page_files()))
def test_nothing_is_loaded_from_elsewhere(name: str) -> None:
    text = page_files()[name].body.decode()
    outside = [url for url in re.findall(r"https?://[^\s\"'`)<]*", text) if url != "http://www.w3.org/2000/svg"]
    # What is left is an example of a worker's address.
    assert set(outside) <= {"http://gpu-1:8000"}
    assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\()", text)


def test_a_file_is_sent_once() -> None:
    first = get("/page/page.css")
    assert first.headers["cache-control"] == "no-cache"
    again = get("/page/page.css", **{"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert get("/page/page.css", **{"if-none-match": '"another"'}).status_code == 200


@pytest.mark.parametrize("path", ["/page/nothing.js", "/page/", "/page/..%2Ffiles.py", "/page/__init__.py"])
def test_nothing_else_is_a_file(path: str) -> None:
    assert get(path).status_code == 404


def test_which_paths_are_for_everybody() -> None:
    assert is_page_file("/")
    assert is_page_file("/page/main.js")
    for path in ("/status", "/pages", "/page", "//", "/workers/page/", ""):
        assert not is_page_file(path)
