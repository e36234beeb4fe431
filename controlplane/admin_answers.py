"""What the routes of the admin port have in common: JSON out, errors in OpenAI's shape, bodies within a limit."""

from __future__ import annotations

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shared.config_fields import nearest

MAX_BODY = 64 * 1024
"""Bytes, where nothing larger is expected."""


def json_answer(value: object, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def problem(status: int, code: str, message: str) -> Response:
    """Return an error in OpenAI's shape."""
    kind = "router_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json_answer({"error": error}, status)


def check_query(request: Request, *known: str) -> None:
    """Refuse a query with a key that means nothing there. Raises HTTPException 400."""
    for key in request.query_params:
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near}?" if near else f"there is {' and '.join(known) or 'none'} here."
            raise HTTPException(400, f"The query has {key[:100]!r}; {hint}")


async def read_body(request: Request, most: int = MAX_BODY) -> bytes:
    """Return the body. Raises HTTPException 413 when it has more than `most` bytes."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise HTTPException(413, f"The body is larger than {most} bytes.")
    return body
