"""`routerctl report`: what the router did over minutes, hours or days."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from controlplane.cli.admin_client import Folder, Target, TokenFile, access_to, find
from controlplane.cli.admin_command import Admin, AsJson, Refusal, Router, ask_admin, fail, print_json
from controlplane.cli.events import seconds_of
from controlplane.cli.status_view import terminal_width
from controlplane.reports.kept import report_of
from controlplane.reports.page import page_of
from controlplane.reports.shapes import Report
from controlplane.reports.tables import text_of
from shared.runtime_dir import RuntimeDirError

TIMEOUT = 60.0
"""Seconds: days of a large fleet take a few to read."""


def report(
    since: Annotated[
        str, typer.Option(metavar="TIME", help="How far to go back: 90s, 15m, 1h, 7d; 0 for all that is kept.")
    ] = "1h",
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", show_default=False, help="Write it as a page with plots.")
    ] = None,
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Show what the router did: traffic, latency, errors by cause, balance, cache hits, breakers, what each model cost.

    It is made of rows that the control plane writes every 15 s into the runtime folder; they outlive restarts and
    stops, so there is a report also when no router runs on the folder.
    """
    try:
        found, where = _report(Router(admin, runtime_dir, admin_token_file), seconds_of(since))
    except Refusal as refusal:
        return fail(str(refusal), code=refusal.code)
    if html is not None:
        try:
            Path(html).write_text(page_of(found, where), encoding="utf-8")
        except OSError as error:
            return fail(f"--html {html}: {error.strerror}; name a file that can be written")
    if as_json:
        print_json(msgspec.json.encode(found))
    elif html is None:
        print(text_of(found, terminal_width()))
    else:
        print(f"{html} was written")
    return 0


def _report(router: Router, seconds: float) -> tuple[Report, str]:
    """Ask the router, or else read its folder. Raises Refusal and ConfigError."""
    try:
        target = find(router.admin, router.folder)
    except RuntimeDirError as error:
        raise Refusal(str(error)) from None
    if target.url is None:
        return _of_folder(target, seconds)
    try:
        access = access_to(target.url, router.token_file, target.runtime)
        told, _ = ask_admin(target.url, access, f"/report?seconds={seconds:g}", Report, timeout=TIMEOUT)
    except Refusal:
        if not target.is_folder_meant:
            raise
        return _of_folder(target, seconds)
    return told, target.url


def _of_folder(target: Target, seconds: float) -> tuple[Report, str]:
    if not target.runtime.path.is_dir():
        nothing = f"no router has run on runtime folder {target.runtime.path}"
        raise Refusal(f"{nothing}; name one with --runtime-dir FOLDER or --admin URL")
    until = time.time()
    return report_of(target.runtime, until - seconds if seconds else 0.0, until), str(target.runtime.path)
