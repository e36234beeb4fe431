"""`routerctl workers`: the workers of a running router, shown and changed through its admin API."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import msgspec
import typer

from controlplane.cli.admin_client import Folder, TokenFile
from controlplane.cli.admin_command import Admin, AsJson, Router, tell
from controlplane.cli.status_view import terminal_width
from controlplane.cli.workers_attributes import (
    ADDRESS,
    BOOTSTRAP,
    CAPACITY,
    LIMIT,
    MODE,
    PRIORITY,
    ROLE,
    TAKES_NEGATIVE_NUMBERS,
    WEIGHT,
    Url,
    capacity,
    checked,
    label,
    labels_of,
    limit,
    path_of,
    priority,
    role_of,
    transfer_of,
    weight,
)
from controlplane.cli.workers_view import Changed, Worker, Workers, changed_text, list_text, show_text
from shared.worker_attributes import ConfiguredWorker

workers = typer.Typer(
    help="Show and change the workers of a running router.", rich_markup_mode=None, add_completion=False
)


@workers.command("list")
def list_all(
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=TEXT", help="Only those with this label; may be given several times."),
    ] = None,
) -> int:
    """Show all workers."""

    def text(found: Workers) -> str:
        return list_text(found.workers, terminal_width(), removed=found.removed, is_filtered=bool(label))

    labels = labels_of(label or (), removes=False)
    query = urlencode([("label", f"{name}={text}") for name, text in labels.items()])
    path = f"/workers?{query}" if query else "/workers"
    return tell("GET", path, Router(admin, runtime_dir, token), as_json, Workers, text)


@workers.command()
def show(
    url: Url, admin: Admin = None, runtime_dir: Folder = None, token: TokenFile = None, as_json: AsJson = False
) -> int:
    """Show one worker."""

    def text(found: Worker) -> str:
        return show_text(found, terminal_width())

    return tell("GET", path_of(url), Router(admin, runtime_dir, token), as_json, Worker, text)


@workers.command()
def add(
    url: Url,
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help=ROLE)] = None,
    weight: Annotated[float | None, typer.Option("--weight", metavar="FACTOR", help=WEIGHT)] = None,
    priority: Annotated[int | None, typer.Option("--priority", metavar="N", help=PRIORITY)] = None,
    capacity: Annotated[float | None, typer.Option("--capacity", metavar="N", help=CAPACITY)] = None,
    max_concurrent_requests: Annotated[
        int | None, typer.Option("--max-concurrent-requests", metavar="N", help=LIMIT)
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=TEXT", help="A label; may be given several times."),
    ] = None,
    bootstrap_port: Annotated[int | None, typer.Option("--bootstrap-port", metavar="PORT", help=BOOTSTRAP)] = None,
    transfer_address: Annotated[str | None, typer.Option("--transfer-address", metavar="ADDRESS", help=ADDRESS)] = None,
    transfer_mode: Annotated[str | None, typer.Option("--transfer-mode", metavar="read|write", help=MODE)] = None,
) -> int:
    """Add a worker; it gets requests once it is ready."""
    labels = labels_of(label or (), removes=False)
    wanted = ConfiguredWorker(
        url=url,
        role=role_of(role),
        weight=weight,
        priority=priority,
        capacity=capacity,
        max_concurrent_requests=max_concurrent_requests,
        labels=labels,
        transfer=transfer_of(bootstrap_port=bootstrap_port, address=transfer_address, mode=transfer_mode),
    )
    body = msgspec.json.encode(checked(wanted))
    return tell("POST", "/workers", Router(admin, runtime_dir, token), as_json, Changed, changed_text, body)


@workers.command()
def remove(
    url: Url,
    admin: Admin = None,
    runtime_dir: Folder = None,
    token: TokenFile = None,
    as_json: AsJson = False,
    force: Annotated[
        bool, typer.Option("--force", help="Do not wait for its open requests. They are not cut off.")
    ] = False,
) -> int:
    """Remove a worker: it gets no more requests, and is gone once those that are open have ended."""
    path = path_of(url) + ("?force" if force else "")
    return tell("DELETE", path, Router(admin, runtime_dir, token), as_json, Changed, changed_text)


@workers.command()
def drain(
    url: Url, admin: Admin = None, runtime_dir: Folder = None, token: TokenFile = None, as_json: AsJson = False
) -> int:
    """Give a worker no more requests; those that are open go on."""
    return tell("POST", path_of(url, "/drain"), Router(admin, runtime_dir, token), as_json, Changed, changed_text, b"")


@workers.command()
def undrain(
    url: Url, admin: Admin = None, runtime_dir: Folder = None, token: TokenFile = None, as_json: AsJson = False
) -> int:
    """Give a worker requests again."""
    return tell(
        "POST", path_of(url, "/undrain"), Router(admin, runtime_dir, token), as_json, Changed, changed_text, b""
    )


workers.command(context_settings=TAKES_NEGATIVE_NUMBERS)(weight)
workers.command(context_settings=TAKES_NEGATIVE_NUMBERS)(priority)
workers.command(context_settings=TAKES_NEGATIVE_NUMBERS)(capacity)
workers.command(context_settings=TAKES_NEGATIVE_NUMBERS)(limit)
workers.command("label")(label)
