"""`routerctl status`: how the router's processes and workers are, also when its control plane is down."""

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
from controlplane.cli.status_view import RouterView, as_text, terminal_width
from shared.decoding import DECODE_ERRORS
from shared.runtime_dir import RuntimeDir


def status(
    admin: Annotated[
        str | None,
        typer.Option(
            "--admin",
            metavar="URL",
            show_default=False,
            help="The router's admin API, else ROUTERCTL_ADMIN, else where the router on --runtime-dir has it, "
            "else http://127.0.0.1:30080.",
        ),
    ] = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> int:
    """Show the processes and workers of a running router, and the ages of what they know.

    When the control plane is down, the planes and the runtime folder are asked instead.
    """
    runtime, url = find(admin, runtime_dir)
    found = _from_admin(url, token_for(url, admin_token_file, runtime)) if url else None
    # Who names an address only must not be shown the router of some folder instead.
    ask_folder = runtime_dir is not None or admin is None
    if found is None and ask_folder:
        found = _from_runtime_dir(runtime)
    if found is None:
        at_url = f"no admin API of a router answers at {url}" if url else ""
        in_folder = f"none runs on runtime folder {runtime.path}" if ask_folder else ""
        print(
            f"routerctl: error: no router found: {' and '.join(filter(None, (at_url, in_folder)))}; "
            "start one with `routerctl start`, or name it with --admin URL or --runtime-dir FOLDER",
            file=sys.stderr,
        )
        return 1
    if as_json:
        print(msgspec.json.format(found, indent=2).decode())
    else:
        print(as_text(msgspec.json.decode(found, type=RouterView), terminal_width()))
    return 0


def _from_admin(url: str, token: str | None) -> bytes | None:
    """Return the admin API's JSON; None when it is not there or is something else."""
    try:
        body = ask(f"{url}/status", token=token).body
        msgspec.json.decode(body, type=RouterView)
    except (NotReached, *DECODE_ERRORS):
        return None
    return body


def _from_runtime_dir(runtime: RuntimeDir) -> bytes | None:
    import asyncio

    from controlplane.cli.local_status import local_status
    from shared.clock import SystemClock

    report = asyncio.run(local_status(runtime, SystemClock()))
    return msgspec.json.encode(report) if report is not None else None
