"""`routerctl keys client`: make, list, replace and revoke the keys by which clients may use a router.

The commands change a file (`shared.client_key_list`), which a running router reads again within a second. A key is
printed once, when it is made; what is kept is its hash.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from controlplane.cli.admin_client import Folder
from controlplane.client_keys_file import KeysFile
from shared.client_key_list import KeyEntry
from shared.client_keys import digest_of, new_key
from shared.config import ConfigError, StartConfig
from shared.runtime_dir import RuntimeDir, default_runtime_dir, read_record

client = typer.Typer(rich_markup_mode=None, invoke_without_command=True)

VARIABLE = "ROUTERCTL_CLIENT_KEYS_FILE"
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_File = Annotated[
    str | None,
    typer.Option(
        "--file",
        metavar="FILE",
        show_default=False,
        help=f"The file of keys, else {VARIABLE}, else that of the router on the runtime folder.",
    ),
]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, as logs and metrics show it.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@client.callback()
def alone(context: typer.Context) -> None:
    """Show the commands where none is given, as other commands that have commands do."""
    if context.invoked_subcommand is None:
        print(context.get_help())


class MadeKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key, the only time that it is shown. `expires` is in Unix seconds."""

    name: str
    key: str
    expires: float | None


class ListedKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key as it is listed; times in Unix seconds. `digest` is the beginning of its SHA-256, to tell two apart."""

    name: str
    state: str
    digest: str
    created: float | None
    expires: float | None
    models: tuple[str, ...] | None
    tenant: str
    service_class: str = msgspec.field(name="class")
    max_concurrent_requests: int
    requests_per_minute: int
    tokens_per_minute: int
    weight: int
    may_choose_class: bool


@client.command()
def create(
    name: _Name,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            show_default=False,
            help="A model that the key may use, or with a * at the end all that begin so; may be repeated. "
            "[default: all models]",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", show_default=False, help="30d, 12h or 2027-01-31. [default: never]"),
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", metavar="TENANT", help="Whose share it counts in.")] = "",
    service_class: Annotated[str, typer.Option("--class", metavar="CLASS", help="The class of its requests.")] = "",
    max_concurrent_requests: Annotated[
        int, typer.Option(metavar="N", help="Requests that it may have open at a time; 0: no limit of its own.")
    ] = 0,
    requests_per_minute: Annotated[
        int, typer.Option(metavar="N", help="Requests that it may send in any 60 s; 0: no limit.")
    ] = 0,
    tokens_per_minute: Annotated[
        int, typer.Option(metavar="N", help="Tokens, of prompts and answers, in any 60 s; 0: no limit.")
    ] = 0,
    weight: Annotated[
        int,
        typer.Option(metavar="N", help="Its tenant's share beside others', 1 to 1000, where there is not enough."),
    ] = 1,
    may_choose_class: Annotated[
        bool, typer.Option("--may-choose-class", help="Its requests may ask for a better class than its own.")
    ] = False,
    file: _File = None,
    folder: Folder = None,
    as_json: _Json = False,
) -> int:
    """Make a key and print it, once. The file is made when it is not there."""
    now, key = time.time(), new_key()
    entry = KeyEntry(
        name=name,
        sha256=digest_of(key.encode()).hex(),
        created=_at(now),
        expires=None if expires is None else moment("--expires", expires, now),
        models=tuple(model) if model else None,
        tenant=tenant,
        service_class=service_class,
        max_concurrent_requests=max_concurrent_requests,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        weight=weight,
        may_choose_class=may_choose_class,
    )
    found(file, folder).add(entry)
    return _show_made(entry, key, as_json=as_json)


@client.command("list")
def show_all(file: _File = None, folder: Folder = None, as_json: _Json = False) -> int:
    """List the keys: names and rights, never a key."""
    keys = found(file, folder)
    listed = [_listed(entry, time.time()) for entry in keys.read()]
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(listed), indent=2).decode())
        return 0
    for key in listed:
        rights = " ".join(key.models) if key.models is not None else "all models"
        more = [f"{what} {text}" for what, text in (("tenant", key.tenant), ("class", key.service_class)) if text]
        more += [f"{amount} {what}" for what, amount in _limits(key) if amount]
        if key.weight != 1:
            more.append(f"weight {key.weight}")
        if key.may_choose_class:
            more.append("may choose its class")
        if key.expires is not None:
            more.append(f"until {_at(key.expires):%Y-%m-%d %H:%M} UTC")
        print("  ".join([f"{key.name:20}", f"{key.state:8}", key.digest, rights, *more]))
    if not listed:
        print(f"no keys in {keys.path}: nobody may use a router with it; make one: routerctl keys client create NAME")
    return 0


@client.command()
def revoke(name: _Name, file: _File = None, folder: Folder = None) -> int:
    """Take a key out, with the one before it. Routers refuse it within a second; requests that run go on."""
    gone = found(file, folder).remove(name)
    print(f"revoked {name} ({gone} key{'s' * (gone != 1)})")
    return 0


@client.command()
def rotate(
    name: _Name,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="TIME", help="How long the old key goes on to work; 0: not at all.")
    ] = "24h",
    file: _File = None,
    folder: Folder = None,
    as_json: _Json = False,
) -> int:
    """Make a new key of the same name and rights, and print it, once; the old one ends after the overlap."""
    now, key = time.time(), new_key()
    until = None if overlap == "0" else moment("--overlap", overlap, now)
    entry = found(file, folder).rotate(name, digest_of(key.encode()).hex(), created=_at(now), until=until)
    return _show_made(entry, key, as_json=as_json)


def found(given: str | None, folder: str | None) -> KeysFile:
    """Return the file that is meant. Raises ConfigError."""
    if path := given or os.environ.get(VARIABLE):
        return KeysFile(Path(path))
    named = folder or os.environ.get("ROUTERCTL_RUNTIME_DIR")
    runtime = RuntimeDir(Path(named).absolute() if named else default_runtime_dir(StartConfig().port))
    config = read_record(runtime.config, StartConfig)
    if config is None or config.client_keys_file is None:
        why = "no router has run on" if config is None else "there is no --client-keys-file of the router on"
        raise ConfigError(f"{why} {runtime.path}; give the file of keys with --file or {VARIABLE}")
    return KeysFile(Path(config.client_keys_file))


def moment(where: str, text: str, now: float) -> datetime:
    """Return the time that a text means: a time from now, or a date (in UTC). Raises ConfigError."""
    if parts := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return _at(now) + timedelta(seconds=int(parts[1]) * _UNITS[parts[2]])
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{where} is {text!r}; write a time such as 12h or 30d, or a date, as 2027-01-31") from None
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    if when.timestamp() <= now:
        raise ConfigError(f"{where} is {text}, which is over; write a time that is to come")
    return when


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _show_made(entry: KeyEntry, key: str, *, as_json: bool) -> int:
    expires = entry.expires.timestamp() if entry.expires is not None else None
    if as_json:
        print(msgspec.json.encode(MadeKey(name=entry.name, key=key, expires=expires)).decode())
    else:
        print(key)
        typer.echo(f"key of {entry.name}, shown this once; a router with this file takes it within a second", err=True)
    return 0


def _listed(entry: KeyEntry, now: float) -> ListedKey:
    expires = entry.expires.timestamp() if entry.expires is not None else None
    return ListedKey(
        name=entry.name,
        state="expired" if expires is not None and expires <= now else "valid",
        digest=entry.sha256[:8].lower(),
        created=entry.created.timestamp() if entry.created is not None else None,
        expires=expires,
        models=entry.models,
        tenant=entry.tenant,
        service_class=entry.service_class,
        weight=entry.weight,
        may_choose_class=entry.may_choose_class,
        **entry.limits,
    )


def _limits(key: ListedKey) -> tuple[tuple[str, int], ...]:
    return (
        ("at a time", key.max_concurrent_requests),
        ("requests/min", key.requests_per_minute),
        ("tokens/min", key.tokens_per_minute),
    )
