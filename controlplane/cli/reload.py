"""`routerctl reload`: have a running router read its configuration again, and say what came of it."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from controlplane.cli.admin_client import (
    Folder,
    NotReached,
    TokenFile,
    ask,
    find,
    token_for,
)
from controlplane.cli.config_view import value_text
from controlplane.reload import CONFIRM_WITHIN, Reloaded
from shared.decoding import DECODE_ERRORS

TIMEOUT = 3 * CONFIRM_WITHIN + 3.0
"""Seconds: planes may be asked twice, and another reload may be under way."""


def reload(
    admin: Annotated[
        str | None,
        typer.Option(
            "--admin",
            metavar="URL",
            show_default=False,
            help="The router's admin API, else ROUTERCTL_ADMIN, else where the router on --runtime-dir has it.",
        ),
    ] = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Have a running router read the file that it was started with again.

    The file is checked whole and tried on the planes before it counts. When anything is wrong, nothing changes and
    the exit code is 1.
    """
    runtime, url = find(admin, runtime_dir)
    if url is None:
        return _fail(f"no control plane runs on runtime folder {runtime.path}; name the router with --admin URL")
    try:
        token = token_for(url, admin_token_file, runtime)
        answer = ask(f"{url}/reload", "POST", token=token, body=b"", timeout=TIMEOUT).body
        result = msgspec.json.decode(answer, type=Reloaded)
    except (NotReached, *DECODE_ERRORS) as error:
        return _fail(f"no admin API of a router that reloads answers at {url}: {error}")
    if as_json:
        print(msgspec.json.format(answer, indent=2).decode())
        return int(result.outcome == "refused")
    for warning in result.warnings:
        print(f"routerctl: warning: {warning}", file=sys.stderr)
    if result.outcome == "refused":
        return _fail(*result.problems)
    for change in result.changes:
        print(f"{change.key}: {value_text(change.old)} -> {value_text(change.new)}")
    if result.outcome == "unchanged":
        print("no value is different")
    return 0


def _fail(*problems: str) -> int:
    for problem in problems:
        print(f"routerctl: error: {problem}", file=sys.stderr)
    return 1
