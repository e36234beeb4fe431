"""How commands that change a router's configuration ask for it, and tell what came of it."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from controlplane.cli.admin_command import Refusal, Router, fail, fetch, print_json
from shared.config_diff import ConfigChange, change_text

AllowNoWorkers = Annotated[
    bool,
    typer.Option("--allow-no-workers", help="Also go by a file that names no worker, though the list in use has some."),
]


class Told(msgspec.Struct):
    """What a change has come to (controlplane/reload_rules.py)."""

    outcome: str
    number: int | None = None
    written: str | None = None
    changes: tuple[ConfigChange, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def change(router: Router, path: str, body: bytes, *, as_json: bool, shows_number: bool = True) -> int:
    """Ask for a change and print what came of it. Returns the exit code. Raises ConfigError."""
    try:
        told, answer = fetch(router, path, Told, body, method="POST", failures=(409,))
    except Refusal as refusal:
        return fail(str(refusal), code=refusal.code)
    if as_json:
        print_json(answer.body)
        return int(told.outcome == "refused")
    for warning in told.warnings:
        print(f"routerctl: warning: {warning}", file=sys.stderr)
    if told.outcome == "refused":
        return fail(*told.problems)
    for one in told.changes:
        print(change_text(one))
    if not told.changes:
        print("no value is different")
    if told.written is not None:
        print(f"{told.written} was written")
    if told.outcome == "possible":
        print("it was only checked, and nothing has changed")
    elif shows_number and told.number is not None:
        print(f"configuration {told.number} is in use")
    return 0
