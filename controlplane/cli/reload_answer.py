"""How commands that change a router's configuration ask for it, and tell what came of it."""

from __future__ import annotations

import sys
from typing import Annotated, NamedTuple, TypeVar

import msgspec
import typer

from controlplane.cli.admin_client import NotReached, ask, find, token_for
from shared.config_diff import ConfigChange, change_text
from shared.decoding import DECODE_ERRORS

TIMEOUT = 15.0
"""Seconds: planes are asked twice (1 s and 3 s), may be asked to go back (3 s), and another change may be under way."""

Admin = Annotated[
    str | None,
    typer.Option(
        "--admin",
        metavar="URL",
        show_default=False,
        help="The router's admin API, else ROUTERCTL_ADMIN, else where the router on --runtime-dir has it.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

T = TypeVar("T")


class Router(NamedTuple):
    """How the user names the router: `--admin`, `--runtime-dir`, `--admin-token-file`."""

    admin: str | None
    folder: str | None
    token_file: str | None


class Refusal(Exception):  # noqa: N818 - it is an answer of the router, no fault of the program
    """What was asked for was not done; the message says why."""


class Told(msgspec.Struct):
    """What a change has come to (controlplane/reload_rules.py)."""

    outcome: str
    number: int | None = None
    changes: tuple[ConfigChange, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class _Error(msgspec.Struct):
    message: str


class _ErrorAnswer(msgspec.Struct):
    error: _Error


def fetch(router: Router, path: str, shape: type[T], body: bytes | None = None) -> tuple[T, bytes]:
    """Ask the router (POST with a body); return its answer and the JSON of that. Raises Refusal and ConfigError."""
    runtime, url = find(router.admin, router.folder)
    if url is None:
        raise Refusal(f"no control plane runs on runtime folder {runtime.path}; name the router with --admin URL")
    method = "GET" if body is None else "POST"
    try:
        token = token_for(url, router.token_file, runtime)
        answer = ask(url + path, method, token=token, body=body, timeout=TIMEOUT)
        if answer.status not in (200, 409):
            raise Refusal(msgspec.json.decode(answer.body, type=_ErrorAnswer).error.message)
        return msgspec.json.decode(answer.body, type=shape), answer.body
    except (NotReached, *DECODE_ERRORS) as error:
        raise Refusal(f"no admin API of a router that can do this answers at {url}: {error}") from None


def change(router: Router, path: str, body: bytes, *, as_json: bool, shows_number: bool = True) -> int:
    """Ask for a change and print what came of it. Returns the exit code. Raises ConfigError."""
    try:
        told, answer = fetch(router, path, Told, body)
    except Refusal as refusal:
        return fail(str(refusal))
    if as_json:
        print_json(answer)
        return int(told.outcome == "refused")
    for warning in told.warnings:
        print(f"routerctl: warning: {warning}", file=sys.stderr)
    if told.outcome == "refused":
        return fail(*told.problems)
    for one in told.changes:
        print(change_text(one))
    if not told.changes:
        print("no value is different")
    if told.outcome == "possible":
        print("it was only checked, and nothing has changed")
    elif shows_number and told.number is not None:
        print(f"configuration {told.number} is in use")
    return 0


def fail(*problems: str) -> int:
    """Print problems; return the exit code."""
    for problem in problems:
        print(f"routerctl: error: {problem}", file=sys.stderr)
    return 1


def print_json(answer: bytes) -> None:
    """Print JSON for people and programs."""
    print(msgspec.json.format(answer, indent=2).decode())
