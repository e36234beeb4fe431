"""The page's files: read once, the same for everybody, and they hold no secret, so that no token is asked for them.

The page loads nothing from anywhere else and runs nothing but these files, and the browser holds it to that
(Content-Security-Policy). A browser asks each time whether a file is still the one that it has (ETag), so that a new
version of the router is a new page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

INDEX = "index.html"
FOLDER = "/page/"
_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class File(NamedTuple):
    """A file as it is served."""

    body: bytes
    kind: str
    tag: str


def page_files() -> Mapping[str, File]:
    """Return the files by their names."""
    found = {}
    for entry in files(__package__).joinpath("static").iterdir():
        kind = _KINDS.get(entry.name.rpartition(".")[2])
        if kind is not None:
            body = entry.read_bytes()
            found[entry.name] = File(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


def is_page_file(path: str) -> bool:
    """Whether a path is that of a file of the page."""
    return path == "/" or path.startswith(FOLDER)


def file_routes() -> list[Route]:
    """Return the routes."""
    known = page_files()

    async def show(request: Request) -> Response:
        file = known.get(request.path_params.get("name", INDEX))
        if file is None:
            raise HTTPException(404)
        headers = {**_HEADERS, "etag": file.tag}
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.body, media_type=file.kind, headers=headers)

    return [Route("/", show), Route(f"{FOLDER}{{name}}", show)]
