"""The session that a request belongs to, as far as it says so.

First the fields of the head, in the order that the operator gives (`--session-headers`), then what the body says,
read as JSON: `session_params.session_id`, `user`, `session_id`, `user_id`. The order is vllm-router's. Its fields
x-correlation-id, x-request-id and x-trace-id are left out unless they are asked for: clients and proxies make a new
one for each request, and then no two requests would be of one session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from dataplane.policies.base import RequestView
from shared.decoding import DECODE_ERRORS

MAX_KEY = 1024
"""Bytes of a key that count."""


class SessionKey(NamedTuple):
    """A session's `value`, and the field or key that it came from."""

    source: str
    value: bytes


class SessionFields(Protocol):
    """What a body may have to tell its session, of whatever type."""

    session_params: Any
    user: Any
    session_id: Any
    user_id: Any


class _Body(msgspec.Struct):
    session_params: Any = None
    user: Any = None
    session_id: Any = None
    user_id: Any = None


_decode = msgspec.json.Decoder(_Body).decode


def session_key(request: RequestView, names: Sequence[bytes]) -> SessionKey | None:
    """Return the session; None when neither the named fields nor the body tell one."""
    return of_head(request, names) or of_body(request.body)


def of_head(request: RequestView, names: Sequence[bytes]) -> SessionKey | None:
    """Return the session that the named fields tell."""
    fields = request.fields
    for name in names:
        if value := fields.get(name, b"").strip():
            return SessionKey(name.decode("latin-1"), value[:MAX_KEY])
    return None


def of_body(body: bytes | bytearray) -> SessionKey | None:
    """Return the session that a body tells."""
    if body[:1] != b"{":
        return None
    try:
        return of_fields(_decode(body))
    except DECODE_ERRORS:
        return None


def of_fields(found: SessionFields) -> SessionKey | None:
    """Return the session that a body's fields tell."""
    params = found.session_params
    nested = params.get("session_id") if isinstance(params, dict) else None
    for source, value in (
        ("session_params.session_id", nested),
        ("user", found.user),
        ("session_id", found.session_id),
        ("user_id", found.user_id),
    ):
        # A number is as good a name as a text; anything else is none.
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return SessionKey(source, str(value).encode()[:MAX_KEY])
    return None
