"""`routerctl requests`: what is open at a running router, and what has ended last."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from controlplane.cli.admin_client import Folder, TokenFile
from controlplane.cli.admin_command import Admin, AsJson, Router, tell
from controlplane.cli.requests_view import as_text
from controlplane.cli.status_view import terminal_width
from shared.request_lines import MAX_LINES, RequestLines

PAUSE = 2.0
"""Seconds between two looks of `--watch`."""
_CLEAR = "\x1b[H\x1b[2J"


def requests(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MAX_LINES, help="So many of each at most.")] = 20,
    troubled: Annotated[
        bool,
        typer.Option(
            "--troubled",
            help="Of those that have ended only those that failed, were retried or left; none that were refused (4xx).",
        ),
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every 2 s, until Ctrl-C.")] = False,
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Show the open requests of all planes, the oldest first, and the last ones that have ended, the newest first.

    `routerctl explain REQUEST` tells all of one that has ended.
    """

    def text(lines: RequestLines) -> str:
        clear = _CLEAR if watch and sys.stdout.isatty() else ""
        return clear + as_text(lines, time.time(), terminal_width(), troubled=troubled)

    path = f"/requests?limit={limit}{'&troubled=yes' if troubled else ''}"
    while True:
        code = tell("GET", path, Router(admin, runtime_dir, admin_token_file), as_json, RequestLines, text)
        if code or not watch:
            return code
        sys.stdout.flush()
        time.sleep(PAUSE)
