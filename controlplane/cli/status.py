"""`routerctl status`: how the router's processes and workers are, also when its control plane is down."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from controlplane.cli.status_view import RouterView, as_text
from shared.config import ConfigError, StartConfig, join_address
from shared.decoding import DECODE_ERRORS
from shared.process import is_alive
from shared.runtime_dir import ProcessRecord, RuntimeDir, default_runtime_dir, read_record

TIMEOUT = 3.0
"""Seconds to wait for the admin API before the planes are asked themselves."""


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
    runtime_dir: Annotated[
        str | None,
        typer.Option(
            "--runtime-dir",
            metavar="FOLDER",
            show_default=False,
            help="The router's runtime folder, else ROUTERCTL_RUNTIME_DIR, else that of a router on port 30000.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> int:
    """Show the processes and workers of a running router, and the ages of what they know.

    When the control plane is down, the planes and the runtime folder are asked instead.
    """
    folder = runtime_dir or os.environ.get("ROUTERCTL_RUNTIME_DIR")
    runtime = RuntimeDir(Path(folder).absolute() if folder else default_runtime_dir(StartConfig().port))
    # Who names a folder on the command line means that router, whatever the environment says.
    given = admin or (None if runtime_dir else os.environ.get("ROUTERCTL_ADMIN"))
    url = _checked(given) if given else _admin_url(runtime)
    found = _from_admin(url) if url else None
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
        print(as_text(msgspec.json.decode(found, type=RouterView)))
    return 0


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"--admin or ROUTERCTL_ADMIN is {url!r}; write it as http://host:port")
    return url.rstrip("/")


def _admin_url(runtime: RuntimeDir) -> str | None:
    """Return where the router on this folder has its admin API; None when its control plane is down."""
    config = read_record(runtime.config, StartConfig)
    if config is None:
        # Nobody has started a router there, so no port is known to be its own.
        return None
    if (record := read_record(runtime.control_plane, ProcessRecord)) is None or not is_alive(record):
        # The port that it had may be another router's by now.
        return None
    return f"http://{join_address(config.admin_host, config.admin_port)}"


def _from_admin(url: str) -> bytes | None:
    """Return the admin API's JSON; None when it is not there or is something else."""
    # A proxy for the outside world has no business between us and our own router.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/status", timeout=TIMEOUT) as answer:
            body: bytes = answer.read()
        msgspec.json.decode(body, type=RouterView)
    except (OSError, urllib.error.URLError, *DECODE_ERRORS):
        return None
    return body


def _from_runtime_dir(runtime: RuntimeDir) -> bytes | None:
    import asyncio

    from controlplane.cli.local_status import local_status
    from shared.clock import SystemClock

    report = asyncio.run(local_status(runtime, SystemClock()))
    return msgspec.json.encode(report) if report is not None else None
