"""How commands ask the admin API of a running router, and the one text that each way to fail has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Annotated, NamedTuple, TypeVar

import msgspec
import typer

from controlplane.admin_title import ADMIN_TITLE
from controlplane.cli.admin_client import (
    DEFAULT_ADMIN,
    START_OR_NAME,
    TIMEOUT,
    Access,
    Answer,
    NotReached,
    access_to,
    ask,
    find,
    nobody,
)
from shared.decoding import DECODE_ERRORS
from shared.runtime_dir import RuntimeDirError

T = TypeVar("T")

ANSWER_TIMEOUT = 15.0
"""Seconds: a reload asks planes twice (1 s and 3 s), may ask them to go back (3 s), and may wait for another change."""

Admin = Annotated[
    str | None,
    typer.Option(
        "--admin",
        metavar="URL",
        show_default=False,
        help="The router's admin API, else ROUTERCTL_ADMIN, else where the router on the runtime folder has it. "
        f"Without any of them, and without a router on the default folder: {DEFAULT_ADMIN}.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]


class Router(NamedTuple):
    """Which router is meant, as the command line says it: the API's URL, the runtime folder, the token's file."""

    admin: str | None
    folder: str | None
    token_file: str | None


class Refusal(Exception):  # noqa: N818 - it is an answer of the router, no fault of the program
    """What was asked for was not done, or nobody knows; the message says why. `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def tell(
    method: str,
    path: str,
    router: Router,
    as_json: bool,
    shape: type[T],
    text: Callable[[T], str],
    body: bytes | None = None,
    *,
    timeout: float = ANSWER_TIMEOUT,
    failures: Collection[int] = (),
) -> int:
    """Ask the router and print what it says. Returns the exit code: 1 also for the statuses in `failures`.

    Those are failures that answer in `shape`, too.
    """
    try:
        told, answer = fetch(router, path, shape, body, method=method, timeout=timeout, failures=failures)
    except Refusal as refusal:
        return fail(str(refusal), code=refusal.code)
    if as_json:
        print_json(answer.body)
    else:
        print(text(told))
    return int(answer.status in failures)


def fetch(
    router: Router,
    path: str,
    shape: type[T],
    body: bytes | None = None,
    *,
    method: str = "GET",
    timeout: float = ANSWER_TIMEOUT,
    failures: Collection[int] = (),
) -> tuple[T, Answer]:
    """Ask the router; return what it says, decoded and as it came. Raises Refusal and ConfigError."""
    try:
        runtime, base, _ = find(router.admin, router.folder)
    except RuntimeDirError as error:
        raise Refusal(str(error)) from None
    if base is None:
        raise Refusal(nobody(runtime))
    access = access_to(base, router.token_file, runtime)
    return ask_admin(base, access, path, shape, body, method=method, timeout=timeout, failures=failures)


def ask_admin(
    base: str,
    access: Access,
    path: str,
    shape: type[T],
    body: bytes | None = None,
    *,
    method: str = "GET",
    timeout: float = ANSWER_TIMEOUT,
    failures: Collection[int] = (),
) -> tuple[T, Answer]:
    """Ask the admin API at `base`, if there is one; return its answer, decoded and as it came. Raises Refusal."""
    _check_admin(base, access)
    try:
        answer = ask(base + path, method, access=access, body=body, timeout=timeout)
    except NotReached as error:
        unknown = method != "GET" and error.was_sent
        known = "it is not known whether the change was made" if unknown else "nothing was changed"
        raise Refusal(f"the admin API at {base} did not answer ({error}); {known}; see `routerctl status`") from None
    if not 200 <= answer.status < 300 and answer.status not in failures:
        raise _refusal(base, answer)
    try:
        return msgspec.json.decode(answer.body, type=shape), answer
    except DECODE_ERRORS:
        raise Refusal(f"the router at {base} is of a version that answers otherwise; see `routerctl status`") from None


def _check_admin(base: str, access: Access) -> None:
    """Make sure that an admin API answers at `base`, before anything is asked of it. Raises Refusal."""
    try:
        answer = ask(f"{base}/openapi.json", access=access, timeout=TIMEOUT)
    except NotReached as error:
        if error.was_sent:
            said = f"{base} does not answer ({error}), and nothing was asked of it; see `routerctl status`"
            raise Refusal(said) from None
        raise Refusal(f"no admin API of a router answers at {base} ({error}); {START_OR_NAME}") from None
    if answer.status == 401 and (refusal := _told(answer)) is not None:
        sent = f"The token of {access.token_file} was sent: name the right file" if access.token else "Name its file"
        raise Refusal(f"{base} answered 401: {refusal} {sent} with --admin-token-file.")
    try:
        title = msgspec.json.decode(answer.body, type=_Document).info.title
    except DECODE_ERRORS:
        title = ""
    if title != ADMIN_TITLE:
        raise Refusal(
            f"what answers at {base} is no admin API of a router, and nothing was asked of it; name the admin API "
            f"(--admin-port, by default {DEFAULT_ADMIN}) with --admin URL"
        )


class _Info(msgspec.Struct):
    title: str


class _Document(msgspec.Struct):
    info: _Info


class _Error(msgspec.Struct):
    message: str


class _ErrorAnswer(msgspec.Struct):
    error: _Error


def _told(answer: Answer) -> str | None:
    """Return the message of an error in OpenAI's shape."""
    try:
        return msgspec.json.decode(answer.body, type=_ErrorAnswer).error.message
    except DECODE_ERRORS:
        return None


def _refusal(base: str, answer: Answer) -> Refusal:
    message = _told(answer) or f"status {answer.status}; see the router's log"
    # A value that the router does not take is wrong usage, as one that the command itself refuses.
    return Refusal(f"{base} answered {answer.status}: {message}", code=2 if answer.status == 400 else 1)


def fail(*messages: str, code: int = 1) -> int:
    """Say on stderr what could not be done, a line each; return the exit code."""
    for message in messages:
        print(f"routerctl: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def print_json(answer: bytes) -> None:
    """Print JSON for people and programs."""
    print(msgspec.json.format(answer, indent=2).decode())
