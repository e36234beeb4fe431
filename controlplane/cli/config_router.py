"""`routerctl config apply|rollback|history`: change the configuration of a running router, and go back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from controlplane.cli.admin_client import Folder, TokenFile
from controlplane.cli.admin_command import Admin, AsJson, Refusal, Router, fail, fetch, print_json
from controlplane.cli.reload_answer import AllowNoWorkers, change
from shared.config_file import load_config_file

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check it and show what would change.")]


class Entry(msgspec.Struct):
    """A line of the history (controlplane/configuration.py)."""

    number: int
    time: float
    cause: str
    detail: str
    keys: tuple[str, ...]
    in_use: bool
    file: str = ""


class History(msgspec.Struct):
    """All lines, oldest first."""

    entries: tuple[Entry, ...]


class Text(msgspec.Struct):
    """One configuration's file."""

    text: str


def apply(
    file: Annotated[str, typer.Argument(metavar="FILE", show_default=False)],
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    dry_run: DryRun = False,
    allow_no_workers: AllowNoWorkers = False,
    as_json: AsJson = False,
) -> int:
    """Give the file that a running router was started with the content of FILE, and have the router go by it.

    Both or neither: when anything is wrong, the router's file and its configuration stay, and the exit code is 1.
    """
    text = load_config_file(file, "").text
    body = msgspec.json.encode({"text": text, "name": file, **_mode(dry_run, allow_no_workers)})
    return change(Router(admin, runtime_dir, admin_token_file), "/config/apply", body, as_json=as_json)


def rollback(
    number: Annotated[
        int | None,
        typer.Argument(metavar="[NUMBER]", show_default=False, help="One of `routerctl config history`."),
    ] = None,
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    dry_run: DryRun = False,
    allow_no_workers: AllowNoWorkers = False,
    as_json: AsJson = False,
) -> int:
    """Give a running router's file the text of an earlier configuration, and have the router go by it.

    Without NUMBER the last change is undone: an edit of the file that is not in use, else the change to the present
    configuration. So a second rollback undoes the first.
    """
    body = msgspec.json.encode({"number": number, **_mode(dry_run, allow_no_workers)})
    return change(Router(admin, runtime_dir, admin_token_file), "/config/rollback", body, as_json=as_json)


def history(
    number: Annotated[
        int | None,
        typer.Argument(metavar="[NUMBER]", show_default=False, help="Print the file as it was in this one."),
    ] = None,
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Show the configurations that a running router has had, newest first."""
    router = Router(admin, runtime_dir, admin_token_file)
    try:
        if number is not None:
            entry, answer = fetch(router, f"/config/history/{number}", Text)
            text = entry.text
        else:
            all_of_them, answer = fetch(router, "/config/history", History)
            text = "".join(f"{line}\n" for line in history_lines(all_of_them.entries))
    except Refusal as refusal:
        return fail(str(refusal), code=refusal.code)
    if as_json:
        print_json(answer.body)
    else:
        print(text, end="" if text.endswith("\n") else "\n")
    return 0


def _mode(dry_run: bool, allow_no_workers: bool) -> dict[str, bool]:
    # Without it as it always was: a router of an earlier version knows no such key.
    return {"dry_run": dry_run} | ({"allow_no_workers": True} if allow_no_workers else {})


def history_lines(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield a line for each entry, newest first."""
    if not entries:
        yield "the router was started without a file, so there is no history"
        return
    rows = [("NUMBER", "TIME", "BY", "CHANGED")]
    for entry in reversed(entries):
        time = datetime.fromtimestamp(entry.time).astimezone().isoformat(" ", "seconds")
        number = f"{entry.number} *" if entry.in_use else str(entry.number)
        changed = ", ".join(entry.keys) or "-"
        if entry.cause == "overwritten":
            changed = "(it stood in the file, and was never in use)"
        elif entry.cause == "start" and entry.file:
            # The whole path: two files of one name are two files.
            changed += f" ({entry.file})"
        elif entry.detail:
            changed += f" ({Path(entry.detail).name})"
        rows.append((number, time, entry.cause, changed))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
