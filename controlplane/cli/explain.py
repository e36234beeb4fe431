"""`routerctl explain`: why a request went where it went."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer

from controlplane.cli.admin_client import Admin, Folder, NotReached, TokenFile, ask, find, token_for
from controlplane.cli.explain_view import lines
from shared.decoding import DECODE_ERRORS
from shared.receipt import Receipt


def explain(
    request: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The id in the answer's x-request-id.")],
    admin: Admin = None,
    runtime_dir: Folder = None,
    admin_token_file: TokenFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Show why one of the last requests went where it went, and how long each part of its way took.

    Each plane keeps its last requests (--receipts).
    """
    runtime, url = find(admin, runtime_dir)
    if url is None:
        return _fail(f"no control plane runs on runtime folder {runtime.path}; name the router with --admin URL")
    try:
        token = token_for(url, admin_token_file, runtime)
        answer = ask(f"{url}/explain/{quote(request, safe='')}", token=token)
        if answer.status != 200:
            return _fail(_said(answer.body))
        receipt = msgspec.json.decode(answer.body, type=Receipt)
    except (NotReached, *DECODE_ERRORS) as error:
        return _fail(f"no admin API of a router that explains answers at {url}: {error}")
    print(msgspec.json.format(answer.body, indent=2).decode() if as_json else "\n".join(lines(receipt)))
    return 0


def _said(body: bytes) -> str:
    problem = msgspec.json.decode(body, type=dict[str, dict[str, object]])
    return str(problem.get("error", {}).get("message", "the router gave no reason"))


def _fail(problem: str) -> int:
    print(f"routerctl: error: {problem}", file=sys.stderr)
    return 1
