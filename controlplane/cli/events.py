"""`routerctl events`: what changed in the fleet, and why."""

from __future__ import annotations

import re
import time
from typing import Annotated

import msgspec
import typer

from controlplane.cli.admin_client import Folder, Target, TokenFile, access_to, find
from controlplane.cli.admin_command import Admin, AsJson, Refusal, Router, ask_admin, fail
from controlplane.events.event import Event
from controlplane.events.reading import MAX_EVENTS, Events, read_events
from shared.config import ConfigError
from shared.runtime_dir import RuntimeDirError

POLL = 1.0
"""Seconds between two looks of `--follow`."""
NOTHING = "no events are kept: nothing has changed since the router was first started"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def events(
    since: Annotated[
        str, typer.Option(metavar="TIME", help="How far to go back: 90s, 15m, 1h, 7d; 0 for all that is kept.")
    ] = "1h",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_EVENTS, help="The newest so many at most.")
    ] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what happens.")] = False,
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Show what changed in the fleet, and why: workers, breakers, the router's processes, its configuration.

    What happened before a restart is there, too, and is shown also when no router runs on the folder. With --json,
    each event is a line.
    """
    router = Router(admin, runtime_dir, admin_token_file)
    back = seconds_of(since)
    after = time.time() - back if back else 0.0
    while True:
        try:
            found = _events(router, after, limit)
        except Refusal as refusal:
            return fail(str(refusal), code=refusal.code)
        for event in found:
            print(msgspec.json.encode(event).decode() if as_json else line(event), flush=True)
            after = event.time
        if not follow:
            if not found and not as_json:
                print(f"nothing has changed in the last {since}; --since 0 shows all that is kept" if back else NOTHING)
            return 0
        limit = MAX_EVENTS
        time.sleep(POLL)


def seconds_of(text: str) -> float:
    """Return how many seconds `90s`, `15m`, `1h` or `7d` are. Raises ConfigError."""
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if found is None or (not found[2] and text != "0"):
        raise ConfigError(f"--since is {text!r}; write a number with its unit, such as 90s, 15m, 1h or 7d")
    return float(found[1]) * _UNITS.get(found[2], 1)


def line(event: Event) -> str:
    """Return the event for people, in local time."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    return f"{when}  {event.level:<7}  {event.text}"


def _events(router: Router, after: float, limit: int) -> tuple[Event, ...]:
    """Ask the router, or else its folder. Raises Refusal and ConfigError."""
    try:
        target = find(router.admin, router.folder)
    except RuntimeDirError as error:
        raise Refusal(str(error)) from None
    if target.url is None:
        return _of_folder(target, after, limit)
    try:
        access = access_to(target.url, router.token_file, target.runtime)
        path = f"/events?after={after!r}&limit={limit}"
        return ask_admin(target.url, access, path, Events)[0].events
    except Refusal:
        if not target.is_folder_meant:
            raise
        return _of_folder(target, after, limit)


def _of_folder(target: Target, after: float, limit: int) -> tuple[Event, ...]:
    if not target.runtime.path.is_dir():
        nothing = f"no router has run on runtime folder {target.runtime.path}"
        raise Refusal(f"{nothing}; name one with --runtime-dir FOLDER or --admin URL")
    return read_events(target.runtime, after=after, limit=limit).events
