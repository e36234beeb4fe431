"""The endpoints about the fleet on the main port, against what vllm-router 0.1.17 was seen to answer.

A status, a content type and a body are as they were there for the same fleet: first one worker, then a second one
that is added and removed, at the end none. In a body `A` and `B` stand for the workers' URLs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest

from tests.integration.routers import Router, eventually, router_before, simulated_fleet

TEXT, JSON = "text/plain; charset=utf-8", "application/json"
NOBODY = "http://127.0.0.1:9"


class Seen(NamedTuple):
    method: str
    path: str
    body: dict[str, Any] | None
    status: int
    kind: str
    answer: str


def message(text: str) -> str:
    return json.dumps({"success": True, "message": text})


WITH_ONE = [
    Seen("GET", "/list_workers", None, 200, JSON, '{"urls":["A"]}'),
    Seen("POST", "/flush_cache", None, 500, TEXT, "Cache flush failed on one or more servers"),
    Seen("POST", "/add_worker?url=A", None, 400, TEXT, "Worker A already exists"),
    Seen(
        "POST", "/workers", {"url": "B", "priority": 50, "cost": 2.5, "labels": {"a": "b"}, "model_id": "mm"},
        200, JSON, message("Successfully added worker: B"),
    ),
    Seen(
        "POST", "/workers", {"url": "B"}, 400, JSON,
        '{"error":"Worker B already exists","code":"ADD_WORKER_FAILED"}',
    ),
    Seen("GET", "/workers/C", None, 404, JSON, '{"error":"Worker C not found","code":"WORKER_NOT_FOUND"}'),
]  # fmt: skip
WITHOUT = [
    Seen("GET", "/list_workers", None, 200, JSON, '{"urls":[]}'),
    Seen("POST", "/flush_cache", None, 200, TEXT, "Cache flushed on all servers"),
    Seen("POST", "/remove_worker?url=A", None, 200, TEXT, "Successfully removed worker: A"),
    Seen("DELETE", "/workers/B", None, 200, JSON, message("Worker B removed successfully")),
    Seen("GET", "/get_loads", None, 200, JSON, '{"workers":[]}'),
    Seen(
        "GET", "/workers", None, 200, JSON,
        '{"workers":[],"total":0,"stats":{"prefill_count":0,"decode_count":0,"regular_count":0}}',
    ),
    Seen(
        "GET", "/readiness", None, 503, JSON,
        '{"status":"not_ready","reason":"no healthy workers available","total_workers":0}',
    ),
]  # fmt: skip
STATUSES = [
    ("GET", "/flush_cache", None, 405),
    ("POST", "/health_generate", None, 405),
    ("POST", "/workers", b'{"url":"http://a:1","priority":"x"}', 422),
    ("POST", "/workers", b'{"priority":3}', 422),
    ("POST", "/workers", b'{"url":"http://a:1","labels":{"a":1}}', 422),
    ("POST", "/workers", b"{", 400),
]
"""Their bodies are texts of axum's there, and JSON here."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 2, "--time-scale=0", "--record=0") as urls:
        yield urls


def check(router: Router, fleet: list[str], seen: Seen) -> None:
    urls = {"A": fleet[0], "B": fleet[1], "C": NOBODY}
    path = re.sub("(?<=[/=])[ABC]$", lambda letter: quote(urls[letter[0]], safe=""), seen.path)
    body = {**seen.body, "url": urls[seen.body["url"]]} if seen.body else None
    answer = httpx.request(seen.method, router.url + path, json=body, timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (seen.status, seen.kind), seen
    assert answer.headers["x-request-id"]
    said = answer.text
    for letter, url in urls.items():
        said = said.replace(url, letter)
    if seen.kind == JSON:
        assert json.loads(said) == json.loads(seen.answer)
    else:
        assert said == seen.answer


def test_answers_are_vllm_routers(tmp_path: Path, fleet: list[str]) -> None:
    with router_before(tmp_path, fleet[:1]) as router:
        for seen in WITH_ONE:
            check(router, fleet, seen)
        for method, path, content, status in STATUSES:
            answer = httpx.request(method, router.url + path, content=content, timeout=30)
            assert (answer.status_code, bool(answer.headers["x-request-id"])) == (status, True), (method, path)
        one = httpx.get(f"{router.url}/workers", timeout=30).json()["workers"][1]
        assert list(one) == [
            "url", "model_id", "worker_type", "is_healthy", "load", "connection_mode", "priority", "cost",
        ]  # fmt: skip
        assert (one["worker_type"], one["connection_mode"], one["priority"], one["cost"]) == ("regular", "Http", 50, 1)
        for url in fleet:
            httpx.delete(f"{router.url}/workers/{quote(url, safe='')}", timeout=30)
        eventually(lambda: httpx.get(f"{router.url}/list_workers").json() == {"urls": []}, "all workers to be gone")
        for seen in WITHOUT:
            check(router, fleet, seen)
        assert httpx.get(f"{router.url}/get_server_info", timeout=30).status_code == 503
