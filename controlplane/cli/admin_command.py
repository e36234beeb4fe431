"""Commands that are one request to the admin API of a running router, and print what it says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Annotated, NamedTuple, TypeVar

import msgspec
import typer

from controlplane.cli.admin_client import Answer, NotReached, ask, find, token_for
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


class Router(NamedTuple):
    """Which router is meant, as the command line says it: the API's URL, the runtime folder, the token's file."""

    admin: str | None
    folder: str | None
    token_file: str | None


def tell(
    method: str,
    path: str,
    router: Router,
    as_json: bool,
    shape: type[T],
    text: Callable[[T], str],
    body: bytes | None = None,
    *,
    timeout: float = CHANGE_TIMEOUT,
    failures: Collection[int] = (),
) -> int:
    """Ask the router and print what it says. Returns the exit code: 1 also for the statuses in `failures`.

    Those are failures that answer in `shape`, too.
    """
    runtime, found = find(router.admin, router.folder)
    if found is None and router.folder is not None:
        return fail(f"no control plane runs on runtime folder {runtime.path}; see `routerctl status`")
    base = found or DEFAULT_ADMIN
    try:
        answer = ask(base + path, method, token=token_for(base, router.token_file, runtime), body=body, timeout=timeout)
    except NotReached as error:
        return fail(f"no admin API of a router answers at {base} ({error}); name it with --admin URL")
    if not 200 <= answer.status < 300 and answer.status not in failures:
        return fail(_refusal(base, answer))
    try:
        told = msgspec.json.decode(answer.body, type=shape)
    except DECODE_ERRORS:
        return fail(f"what answers at {base} is no admin API of a router; name it with --admin URL")
    print(msgspec.json.format(answer.body, indent=2).decode() if as_json else text(told))
    return int(answer.status in failures)


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


def fail(message: str) -> int:
    """Say on stderr what could not be done; return the exit code."""
    print(f"routerctl: error: {' '.join(message.split())}", file=sys.stderr)
    return 1
