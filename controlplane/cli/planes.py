"""`routerctl planes`: the planes of a running router, shown and restarted."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from controlplane.cli.admin_client import Folder, TokenFile
from controlplane.cli.admin_command import Admin, AsJson, Refusal, Router, fail, print_json, tell
from controlplane.cli.argv import UsageProblem
from controlplane.cli.planes_view import Planes, Restarted, list_text, restarted_text
from controlplane.cli.status_or_folder import status_of
from controlplane.cli.status_view import RouterView
from controlplane.cli.workers_attributes import TAKES_NEGATIVE_NUMBERS
from shared.config import ConfigError

RESTART_TIMEOUT = 3600.0
"""Seconds: a plane may take 30 s to serve, one after the other. The router's own limit ends a roll earlier."""

planes = typer.Typer(
    help="Show and restart the planes of a running router.", rich_markup_mode=None, add_completion=False
)


@planes.command("list")
def list_all(admin: Admin = None, runtime_dir: Folder = None, token: TokenFile = None, as_json: AsJson = False) -> int:
    """Show all planes.

    When the control plane is down, the planes themselves are asked instead.
    """
    try:
        found = status_of(Router(admin, runtime_dir, token), "/planes", Planes, _planes_of)
    except Refusal as refusal:
        return fail(str(refusal), code=refusal.code)
    if as_json:
        print_json(found)
    else:
        shown = msgspec.json.decode(found, type=Planes)
        print(list_text(shown.planes, shown.data_planes))
    return 0


def _planes_of(view: RouterView) -> Planes:
    return Planes(planes=view.planes, data_planes=view.data_planes)


@planes.command(context_settings=TAKES_NEGATIVE_NUMBERS)
def restart(
    slots: Annotated[
        list[str] | None, typer.Argument(metavar="[SLOT]...", show_default=False, help="Which planes; all by default.")
    ] = None,
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Replace planes by new ones, one after the other, without losing a request.

    A new plane serves before the old one stops; open requests have --shutdown-grace-secs to end. When a new plane does
    not come up, the roll stops, the old one goes on, and the exit code is 1.
    """
    numbers = [_slot(text) for text in slots or ()]
    return tell(
        "POST",
        "/planes/restart",
        Router(admin, runtime_dir, token),
        as_json,
        Restarted,
        restarted_text,
        msgspec.json.encode({"slots": numbers}),
        timeout=RESTART_TIMEOUT,
        failures=(409, 500),
    )


def _slot(text: str) -> int:
    """Return the number of a plane. Raises ConfigError and UsageProblem."""
    if text.startswith("--"):
        raise UsageProblem(f"unknown flag {text}; `routerctl planes restart --help` lists all")
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"SLOT is {text!r}; write the number of a plane, as `routerctl planes list` shows it")
    return int(text)
