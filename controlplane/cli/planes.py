"""`routerctl planes`: the planes of a running router, shown and restarted."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from controlplane.cli.admin_client import Folder, NotReached, TokenFile, ask, find, token_for
from controlplane.cli.admin_command import Admin, AsJson, Router, fail, tell
from controlplane.cli.planes_view import Planes, Restarted, list_text, restarted_text
from shared.decoding import DECODE_ERRORS
from shared.runtime_dir import RuntimeDir

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
    runtime, url = find(admin, runtime_dir)
    found = _from_admin(url, token_for(url, token, runtime)) if url else None
    # Who names an address only must not be shown the router of some folder instead.
    if found is None and (runtime_dir is not None or admin is None):
        found = _from_planes(runtime)
    if found is None:
        return fail("no router found; start one with `routerctl start`, or name it with --admin URL or --runtime-dir")
    print(
        msgspec.json.format(found, indent=2).decode()
        if as_json
        else list_text(msgspec.json.decode(found, type=Planes).planes)
    )
    return 0


@planes.command()
def restart(
    slots: Annotated[
        list[int] | None, typer.Argument(metavar="[SLOT]...", show_default=False, help="Which planes; all by default.")
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
    return tell(
        "POST",
        "/planes/restart",
        Router(admin, runtime_dir, token),
        as_json,
        Restarted,
        restarted_text,
        msgspec.json.encode({"slots": slots or []}),
        timeout=RESTART_TIMEOUT,
        failures=(409, 500),
    )


def _from_admin(url: str, token: str | None) -> bytes | None:
    """Return the admin API's JSON; None when it is not there or is something else."""
    try:
        body = ask(f"{url}/planes", token=token).body
        msgspec.json.decode(body, type=Planes)
    except (NotReached, *DECODE_ERRORS):
        return None
    return body


def _from_planes(runtime: RuntimeDir) -> bytes | None:
    import asyncio

    from controlplane.cli.local_status import local_status
    from shared.clock import SystemClock

    report = asyncio.run(local_status(runtime, SystemClock()))
    return msgspec.json.encode(Planes(planes=report.planes)) if report is not None else None
