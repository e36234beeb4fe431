"""`routerctl explain`: why a request went where it went."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from controlplane.cli.admin_client import Folder, TokenFile
from controlplane.cli.admin_command import Admin, AsJson, Router, tell
from controlplane.cli.explain_view import lines
from shared.receipt import Receipt


def explain(
    request: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The id in the answer's x-request-id.")],
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Show why one of the last requests went where it went, and how long each part of its way took.

    Each plane keeps its last requests (--receipts).
    """

    def text(receipt: Receipt) -> str:
        return "\n".join(lines(receipt))

    path = f"/explain/{quote(request, safe='')}"
    return tell("GET", path, Router(admin, runtime_dir, admin_token_file), as_json, Receipt, text)
