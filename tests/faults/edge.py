"""What the tests of a plane's edges share: raw clients, many of them, and what a process uses."""

from __future__ import annotations

import json
import os
import resource
import socket
from pathlib import Path

from tests.integration.routers import Router

_TICKS = os.sysconf("SC_CLK_TCK")


def adds_up(found: dict[str, float]) -> bool:
    """Whether every request that was taken in is accounted for."""
    ended = sum(
        found.get(f"routerctl_{how}", 0.0)
        for how in ("finished_requests_total", "aborted_requests_total", "rejected_requests_total", "active_requests")
    )
    return found["routerctl_accepted_requests_total"] == ended


# --- clients -----------------------------------------------------------------------------------------------


def connect(router: Router, *, receive_buffer: int | None = None) -> socket.socket:
    """Open a connection; `receive_buffer` bytes are what its kernel takes without being read."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", router.port))
    return connection


def post(path: str, body: bytes, *fields: str) -> bytes:
    """A request with its body."""
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *fields, "", ""]).encode() + body


def chat(*, tokens: int, stream: bool) -> bytes:
    """A chat request."""
    question = {"role": "user", "content": "hello"}
    body = {"model": "sim-model", "messages": [question], "max_tokens": tokens, "stream": stream}
    return post("/v1/chat/completions", json.dumps(body).encode())


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer of known length: its status and its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError(f"closed after {received!r}")
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += connection.recv(65536)
    return int(head[9:12]), body


def allow_descriptors(count: int) -> None:
    """Let this process open as many files. They are kept: other tests do not mind."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


# --- processes ---------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such figure")


def open_files(pid: int) -> int:
    """How many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))
