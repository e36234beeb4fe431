"""`routerctl workers`: the workers of a running router, shown and changed through its admin API."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, TypeVar
from urllib.parse import quote

import msgspec
import typer

from controlplane.cli.admin_client import (
    Answer,
    Folder,
    NotReached,
    TokenFile,
    ask,
    find,
    token_for,
)
from controlplane.cli.workers_view import Changed, Worker, Workers, changed_text, list_text, show_text
from shared.decoding import DECODE_ERRORS

T = TypeVar("T")

DEFAULT_ADMIN = "http://127.0.0.1:30080"
CHANGE_TIMEOUT = 10.0
"""Seconds: a change waits for the planes (1 s) and for the disk."""

Admin = Annotated[
    str | None,
    typer.Option(
        "--admin",
        metavar="URL",
        show_default=False,
        help="The router's admin API, else ROUTERCTL_ADMIN, else where the router on --runtime-dir has it, "
        f"else {DEFAULT_ADMIN}.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
Url = Annotated[str, typer.Argument(metavar="URL", help="The worker, as http(s)://host:port.")]

workers = typer.Typer(
    help="Show and change the workers of a running router.", rich_markup_mode=None, add_completion=False
)


@workers.command("list")
def list_all(admin: Admin = None, runtime_dir: Folder = None, token: TokenFile = None, as_json: AsJson = False) -> int:
    """Show all workers."""

    def text(found: Workers) -> str:
        return list_text(found.workers)

    return _run("GET", "/workers", (admin, runtime_dir, token), as_json, Workers, text)


@workers.command()
def show(
    url: Url, admin: Admin = None, runtime_dir: Folder = None, token: TokenFile = None, as_json: AsJson = False
) -> int:
    """Show one worker."""
    return _run("GET", _path(url), (admin, runtime_dir, token), as_json, Worker, show_text)


@workers.command()
def add(
    url: Url, admin: Admin = None, runtime_dir: Folder = None, token: TokenFile = None, as_json: AsJson = False
) -> int:
    """Add a worker; it gets requests once it is ready."""
    body = msgspec.json.encode({"url": url})
    return _run("POST", "/workers", (admin, runtime_dir, token), as_json, Changed, changed_text, body)


@workers.command()
def remove(
    url: Url,
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
    force: Annotated[
        bool, typer.Option("--force", help="Do not wait for its open requests. They are not cut off.")
    ] = False,
) -> int:
    """Remove a worker: it gets no more requests, and is gone once those that are open have ended."""
    path = _path(url) + ("?force" if force else "")
    return _run("DELETE", path, (admin, runtime_dir, token), as_json, Changed, changed_text)


@workers.command()
def drain(
    url: Url, admin: Admin = None, runtime_dir: Folder = None, token: TokenFile = None, as_json: AsJson = False
) -> int:
    """Give a worker no more requests; those that are open go on."""
    return _run("POST", _path(url, "/drain"), (admin, runtime_dir, token), as_json, Changed, changed_text, b"")


@workers.command()
def undrain(
    url: Url, admin: Admin = None, runtime_dir: Folder = None, token: TokenFile = None, as_json: AsJson = False
) -> int:
    """Give a worker requests again."""
    return _run("POST", _path(url, "/undrain"), (admin, runtime_dir, token), as_json, Changed, changed_text, b"")


def _path(url: str, verb: str = "") -> str:
    return f"/workers/{quote(url, safe='')}{verb}"


def _run(
    method: str,
    path: str,
    router: tuple[str | None, str | None, str | None],
    as_json: bool,
    shape: type[T],
    text: Callable[[T], str],
    body: bytes | None = None,
) -> int:
    """Ask the router and print what it says. Returns the exit code."""
    admin, folder, token_file = router
    runtime, found = find(admin, folder)
    if found is None and folder is not None:
        return _fail(f"no control plane runs on runtime folder {runtime.path}; see `routerctl status`")
    base = found or DEFAULT_ADMIN
    try:
        answer = ask(base + path, method, token=token_for(base, token_file, runtime), body=body, timeout=CHANGE_TIMEOUT)
    except NotReached as error:
        return _fail(f"no admin API of a router answers at {base} ({error}); name it with --admin URL")
    if not 200 <= answer.status < 300:
        return _fail(_refusal(base, answer))
    try:
        told = msgspec.json.decode(answer.body, type=shape)
    except DECODE_ERRORS:
        return _fail(f"what answers at {base} is no admin API of a router; name it with --admin URL")
    print(msgspec.json.format(answer.body, indent=2).decode() if as_json else text(told))
    return 0


class _Error(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    error: _Error


def _refusal(base: str, answer: Answer) -> str:
    try:
        message = msgspec.json.decode(answer.body, type=_Refusal).error.message
    except DECODE_ERRORS:
        message = "it is no admin API of a router; name it with --admin URL"
    hint = " Name its file with --admin-token-file." if answer.status == 401 else ""
    return f"{base} answered {answer.status}: {message}{hint}"


def _fail(message: str) -> int:
    print(f"routerctl: error: {' '.join(message.split())}", file=sys.stderr)
    return 1
