"""`routerctl workers weight | priority | capacity | limit | label`: what a worker is like, changed at run time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeVar
from urllib.parse import quote

import msgspec
import typer

from controlplane.cli.admin_client import Folder, TokenFile
from controlplane.cli.admin_command import Admin, AsJson, Router, tell
from controlplane.cli.completion import worker_urls
from controlplane.cli.workers_view import Changed, attributes_text
from shared.config import ConfigError
from shared.table import Role
from shared.transfer_attributes import TransferAttributes, wrong_transfer
from shared.worker_attributes import AttributeChange, WorkerAttributes, wrong_attributes
from shared.worker_rank import split_rank
from shared.worker_url import check_worker_url

T = TypeVar("T", WorkerAttributes, AttributeChange)

RESET = "reset"
ROLE = "regular (the default), prefill or decode; it can not be changed later."
WEIGHT = "Its share of the requests against the others; 0: only when no other can take one."
PRIORITY = "Workers of the highest priority are used as long as one can take a request."
CAPACITY = "How many requests it takes well at a time."
LIMIT = "How many requests it may have at a time, over all planes; 0: any number."
BOOTSTRAP = "Of a prefill worker with Mooncake: the port of its bootstrap server, 8998 if this is not given."
ADDRESS = "Its address for KV transfers, where the connector needs it (moriio, nccl) and it does not register."
MODE = "With moriio: how KV cache goes to the decode worker."

TAKES_NEGATIVE_NUMBERS = {"ignore_unknown_options": True}
"""Settings of commands that tell of -1 what is wrong with it, and do not take it for an option."""


def _checked_url(url: str) -> str:
    check_worker_url("URL", split_rank(url)[0])
    return url


Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="The worker, as http(s)://host:port; one data-parallel rank as URL@RANK.",
        callback=_checked_url,
        autocompletion=worker_urls,
    ),
]
_OR_RESET = f" `{RESET}` goes back to what the configuration says."


def weight(
    url: Url,
    factor: Annotated[str, typer.Argument(metavar=f"FACTOR|{RESET}", help=WEIGHT + _OR_RESET)],
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Give a worker another weight."""
    change = AttributeChange(weight=_number("FACTOR", factor))
    return _change(url, change, Router(admin, runtime_dir, token), as_json)


def priority(
    url: Url,
    number: Annotated[str, typer.Argument(metavar=f"N|{RESET}", help=PRIORITY + _OR_RESET)],
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Give a worker another priority."""
    change = AttributeChange(priority=_whole_number("N", number))
    return _change(url, change, Router(admin, runtime_dir, token), as_json)


def capacity(
    url: Url,
    number: Annotated[str, typer.Argument(metavar=f"N|{RESET}", help=CAPACITY + _OR_RESET)],
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Give a worker another capacity."""
    return _change(url, AttributeChange(capacity=_number("N", number)), Router(admin, runtime_dir, token), as_json)


def limit(
    url: Url,
    number: Annotated[str, typer.Argument(metavar=f"N|{RESET}", help=LIMIT + _OR_RESET)],
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Give a worker another limit on its open requests."""
    change = AttributeChange(max_concurrent_requests=_whole_number("N", number))
    return _change(url, change, Router(admin, runtime_dir, token), as_json)


def label(
    url: Url,
    labels: Annotated[
        list[str],
        typer.Argument(
            metavar=f"NAME=TEXT|NAME-|{RESET}...", help="NAME- takes a label away; `reset` all changes of labels."
        ),
    ],
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Change a worker's labels; those that are not named stay."""
    change = AttributeChange(labels=None if labels == [RESET] else labels_of(labels, removes=True))
    return _change(url, change, Router(admin, runtime_dir, token), as_json)


def labels_of(texts: Iterable[str], *, removes: bool) -> dict[str, str | None]:
    """Return labels as the command line writes them. Raises ConfigError. With `removes`, NAME- is None."""
    labels: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals:
            labels[name] = value
        elif removes and text.endswith("-"):
            labels[text[:-1]] = None
        else:
            raise ConfigError(f"label is {text!r}; write NAME=TEXT{', or NAME- to take it away' if removes else ''}")
    return labels


def checked(said: T) -> T:
    """Return what is said of a worker. Raises ConfigError when it can not be so."""
    for name, fault in wrong_attributes(msgspec.to_builtins(said)):
        raise ConfigError(f"{name} {fault}")
    return said


def role_of(text: str | None) -> Role | None:
    """Return a role. Raises ConfigError."""
    for name, fault in wrong_attributes({"role": text}):
        raise ConfigError(f"--{name} {fault}")
    role: Role | None = msgspec.convert(text, Role | None)
    return role


def transfer_of(**parts: int | str | None) -> TransferAttributes | None:
    """Return what is said of how a worker moves KV cache; None for nothing. Raises ConfigError."""
    said = {name: value for name, value in parts.items() if value is not None}
    for fault in wrong_transfer(said):
        raise ConfigError(f"its transfer {fault}")
    return msgspec.convert(said, TransferAttributes) if said else None


def path_of(url: str, verb: str = "") -> str:
    """Return the path of a worker in the admin API."""
    return f"/workers/{quote(url, safe='')}{verb}"


def _number(name: str, text: str) -> float | None:
    """Return a number, None for `reset`. Raises ConfigError."""
    if text == RESET:
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}; write a number, or {RESET}") from None


def _whole_number(name: str, text: str) -> int | None:
    """Return a whole number, None for `reset`. Raises ConfigError."""
    value = _number(name, text)
    if value is not None and not value.is_integer():
        raise ConfigError(f"{name} is {text!r}; write a whole number, or {RESET}")
    return None if value is None else int(value)


def _change(url: str, change: AttributeChange, router: Router, as_json: bool) -> int:
    return tell("PATCH", path_of(url), router, as_json, Changed, attributes_text, msgspec.json.encode(checked(change)))
