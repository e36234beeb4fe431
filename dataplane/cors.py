"""Which web pages may use the router from a browser (CORS, the Fetch standard), as plain functions.

As with vllm-router any page may while nobody names some, and never with credentials: cookies and client certificates
that a browser sends by itself are no page's to use. A page has to send a key by its own word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

Headers = list[tuple[bytes, bytes]]

NOBODY = "none"
"""In the place of origins: no page may."""
_PREFIX = b"access-control-"
_MAX_AGE = b"3600"
"""Seconds for which a browser remembers; vllm-router's."""
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+\-.^_`|~, \t]{1,1024}")
_VARY = (b"vary", b"origin")


def is_preflight(method: str, fields: Mapping[bytes, bytes]) -> bool:
    """Whether a browser asks before a request that a page wants to make."""
    return method == "OPTIONS" and b"access-control-request-method" in fields and b"origin" in fields


def allowed(origin: bytes, origins: Collection[bytes]) -> Headers:
    """Return the fields that an answer to a page gets; without any but `Vary` its browser keeps it from the page."""
    if not origins:
        return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
    if origin not in origins:
        return [_VARY]
    return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", b"*"), _VARY]


def preflight(fields: Mapping[bytes, bytes], origins: Collection[bytes]) -> Headers:
    """Return the fields of the answer to a preflight."""
    told = allowed(fields[b"origin"], origins)
    if not may_read(told):
        return told
    # A star would not stand for `authorization`.
    names = fields.get(b"access-control-request-headers", b"")
    told = [field for field in told if field[0] != b"access-control-expose-headers"]
    told += [(b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _MAX_AGE)]
    if _NAMES.fullmatch(names):
        told.append((b"access-control-allow-headers", names))
    return told


def may_read(told: Headers) -> bool:
    """Whether a page with these fields may read its answer."""
    return told != [_VARY]


def with_own(headers: Headers, own: Headers) -> Headers:
    """Return an answer's fields with the router's own in the place of the worker's: browsers refuse two of one."""
    return [*(field for field in headers if not field[0].startswith(_PREFIX)), *own]


def compiled(origins: Collection[str]) -> frozenset[bytes]:
    """Return the origins as browsers send them; none of them for any page."""
    if "*" in origins:
        return frozenset()
    return frozenset(origin.rstrip("/").lower().encode() for origin in origins)
