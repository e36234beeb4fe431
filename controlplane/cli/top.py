"""`routerctl top`: the router, its planes and workers on a whole screen."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from controlplane.cli.admin_client import Folder, TokenFile, may_come_back
from controlplane.cli.admin_command import Admin, Refusal, Router, fail
from controlplane.cli.status_view import WIDTH, terminal_width
from controlplane.top.frame import Screen, frame
from controlplane.top.session import Session
from controlplane.top.snapshot import Seen, Snapshot
from controlplane.top.source import Source
from controlplane.top.terminal import Terminal, is_ascii
from controlplane.top.view import ORDERS, View
from shared.clock import SystemClock
from shared.config import ConfigError
from shared.config_fields import nearest

_HEAD = 200
"""Lines beside the workers' that are more than a frame has."""


def top(
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Between two looks at the router.")] = 1.0,
    sort: Annotated[str, typer.Option(metavar="ORDER", help=f"Order of the workers: {', '.join(ORDERS)}.")] = "name",
    only: Annotated[
        str,
        typer.Option("--filter", metavar="TEXT", help="Only workers with it in address, role, state, model, label."),
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Print one frame with all workers and end.")] = False,
) -> int:
    """Show the router on a whole screen: workers by role, planes, events. Keys sort, filter and drain; ? lists them.

    Without a terminal it prints one frame, as with --once. NO_COLOR=1 is without colours.
    """
    if sort not in ORDERS:
        near = nearest(sort, ORDERS)
        hint = f"did you mean {near}?" if near else f"write one of: {', '.join(ORDERS)}"
        raise ConfigError(f"--sort is {sort!r}; {hint}")
    router = Router(admin, runtime_dir, admin_token_file)
    source = Source(router)
    view = View(order=sort, filter=only)
    first: Snapshot | Refusal
    try:
        first = source.look()
    except Refusal as refusal:
        first = refusal
    is_screen = sys.stdin.isatty() and sys.stdout.isatty() and not once
    if isinstance(first, Refusal) and not (is_screen and may_come_back(router.admin, router.folder)):
        return fail(str(first), code=first.code)
    if isinstance(first, Snapshot) and not is_screen:
        print(picture(first, source.where, view))
        return 0
    terminal = Terminal(sys.stdin.fileno(), sys.stdout.fileno())
    Session(source, terminal, SystemClock(), interval=interval, view=view).run(first)
    return 0


def picture(snapshot: Snapshot, where: str, view: View) -> str:
    """Return a frame without keys, as high as it has to be for all workers."""
    height = 2 * len(snapshot.status.workers) + _HEAD
    screen = Screen(terminal_width() or WIDTH, height, is_ascii(), has_keys=False)
    lines = [line.plain.rstrip() for line in frame(Seen(where=where, snapshot=snapshot), view, screen)[:-1]]
    return "\n".join(line for line in lines if line)
