"""What a running router logs of requests, and that neither prompts nor keys are in it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.routers import Router, eventually

PROMPT, KEY = "the-secret-of-the-prompt", "sk-secret-key"
TEXT, ERRORS, STRUCTURED = (f"vllm-router{kind}.log" for kind in ("", "-error", "-structured"))


@pytest.fixture(scope="module")
def logging_router(fleet: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """One that logs all requests, as JSON and into files."""
    folder = tmp_path_factory.mktemp("router")
    files = ("--log-dir", str(folder / "logs"), "--log-format=json", "--access-log=all")
    one = Router(folder, "--data-planes=1", *files, "--worker-urls", *fleet)
    try:
        one.start().ready()
        yield one
    finally:
        one.close()


def ask(router: Router, name: str, **fields: object) -> httpx.Response:
    body = {"model": "sim-model", "prompt": PROMPT, "max_tokens": 4, **fields}
    headers = {"x-request-id": name, "authorization": f"Bearer {KEY}"}
    return httpx.post(f"{router.url}/v1/completions", json=body, headers=headers, timeout=30, trust_env=False)


def lines(router: Router, name: str) -> list[dict[str, Any]]:
    path = router.folder / "logs" / STRUCTURED
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [one for one in found if one.get("id") == name]


def line_of(router: Router, name: str) -> dict[str, Any]:
    eventually(lambda: bool(lines(router, name)), f"the line of {name}")
    (line,) = lines(router, name)
    return line


def test_a_request_leaves_one_line_with_its_worker_times_and_tokens(logging_router: Router, fleet: list[str]) -> None:
    assert ask(logging_router, "one").status_code == 200
    line = line_of(logging_router, "one")
    assert (line["kind"], line["process"], line["level"]) == ("request", "plane 0", "info")
    assert (line["path"], line["model"], line["status"]) == ("/v1/completions", "sim-model", 200)
    assert (line["outcome"], line["output_tokens"]) == ("answered", 4)
    assert line["prompt_tokens"] > 0
    assert 0 < line["first_byte"] <= line["seconds"]
    (attempt,) = line["attempts"]
    assert attempt["worker"] in fleet
    assert "failed" not in attempt


def test_a_stream_tells_its_tokens_too(logging_router: Router) -> None:
    assert ask(logging_router, "stream", stream=True, stream_options={"include_usage": True}).status_code == 200
    assert line_of(logging_router, "stream")["output_tokens"] == 4


@pytest.mark.parametrize(
    ("method", "path", "status", "cause"),
    [
        ("POST", "/add_worker", 400, "Worker URL required"),
        ("GET", "/workers/nobody", 404, "Worker nobody not found"),
        ("PUT", "/workers", 405, "GET, HEAD, POST"),
    ],
)
def test_paths_of_the_fleet_leave_a_line_where_they_refuse(
    logging_router: Router, method: str, path: str, status: int, cause: str
) -> None:
    name = f"fleet-{status}"
    answer = httpx.request(method, logging_router.url + path, headers={"x-request-id": name}, trust_env=False)
    assert answer.status_code == status
    line = line_of(logging_router, name)
    assert (line["status"], line["level"], line["path"]) == (status, "warning", path)
    assert cause in line["cause"]


def test_a_failure_is_in_all_three_files_and_the_others_are_not(logging_router: Router) -> None:
    assert ask(logging_router, "unknown", model="nobody-has-it").status_code == 404
    line = line_of(logging_router, "unknown")
    assert (line["level"], line["status"], line["outcome"]) == ("warning", 404, "rejected model_not_found")
    assert "nobody-has-it" in line["cause"]
    text = (logging_router.folder / "logs" / TEXT).read_text()
    assert " WARNING plane 0: POST /v1/completions 404 rejected model_not_found, " in text
    assert "id=unknown" not in (logging_router.folder / "logs" / ERRORS).read_text()


def test_a_body_that_is_no_http_leaves_a_line(logging_router: Router) -> None:
    head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nx-request-id: chunks\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", logging_router.port), timeout=30) as connection:
        connection.sendall(head + b"zz\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    line = line_of(logging_router, "chunks")
    assert (line["level"], line["status"], line["outcome"]) == ("warning", 400, "unreadable body")


def test_every_process_writes_into_the_same_files_in_the_same_way(logging_router: Router) -> None:
    structured = logging_router.folder / "logs" / STRUCTURED

    def processes() -> set[str]:
        return {json.loads(line)["process"] for line in structured.read_text().splitlines()}

    ask(logging_router, "any")
    eventually(lambda: processes() >= {"plane 0", "control plane"}, "a line of each")
    assert all(json.loads(line) for line in logging_router.errors.splitlines())


def test_neither_prompts_nor_keys_are_logged(logging_router: Router) -> None:
    """G-LOG-1."""
    ask(logging_router, "secret")
    line_of(logging_router, "secret")
    everything = "".join(path.read_text() for path in (logging_router.folder / "logs").iterdir())
    assert "secret" in everything
    for hidden in (PROMPT, KEY):
        assert hidden not in everything
        assert hidden not in logging_router.errors


def test_prompts_are_logged_where_that_was_asked_for(fleet: list[str], tmp_path: Path) -> None:
    router = Router(tmp_path, "--data-planes=1", "--log-prompts", "--log-level=debug", "--worker-urls", *fleet)
    try:
        router.start().ready()
        assert ask(router, "shown").status_code == 200
        # At log level debug each request has a line although only failures are asked for.
        eventually(lambda: "id=shown" in router.errors, "its line")
        (line,) = [line for line in router.errors.splitlines() if "id=shown" in line]
        assert " DEBUG plane 0: POST /v1/completions 200 answered, " in line
        assert PROMPT in line
        assert KEY not in router.errors
        # Lines that still gather when a plane ends are not lost, and stand in the order in which requests ended.
        names = [f"last-{number}" for number in range(20)]
        for name in names:
            assert ask(router, name).status_code == 200
        assert router.stop() == 0
        assert re.findall(r"id=(last-\d+)", router.errors) == names
    finally:
        router.close()
