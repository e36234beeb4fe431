"""Request heads towards workers: what a proxy must take out, what it must set, and nothing else.

Hop-by-hop rules are those of RFC 9110 section 7.6.1 and RFC 9112 section 9.6; all other fields pass as
they came, repeated ones and their order included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dataplane.client_headers import NOT_BELIEVED

Headers = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

ANSWERED_BY_US = frozenset({b"x-request-id"})
"""Of an answer's fields what is the router's to say."""

# Set by us per request: the worker's own host, the length of the body in hand; and `expect`, which the
# server has answered already.
_REPLACED = frozenset({b"host", b"content-length", b"expect", b"x-request-id"})
_NOT_FORWARDED = HOP_BY_HOP | _REPLACED | NOT_BELIEVED

_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})


def connection_tokens(values: Iterable[bytes]) -> frozenset[bytes]:
    """Return the lower-case field names that `Connection` values declare hop-by-hop."""
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def one_cookie(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return an HTTP/2 request's fields with its `Cookie` fields put together, as HTTP/1.1 wants them.

    HTTP/2 clients may split them for better compression (RFC 9113 section 8.2.3).
    """
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return list(headers)
    return [*(field for field in headers if field[0] != b"cookie"), (b"cookie", b"; ".join(cookies))]


def field_lines(
    headers: Headers,
    request_id: bytes,
    method: str,
    body_length: int,
    authorization: str | None = None,
    replaced: frozenset[bytes] = frozenset(),
) -> bytes:
    """Return the head's field lines after `Host`, the empty line included: the same for every attempt.

    `authorization` takes the place of the client's, which is its own if that is None; `replaced` names more of
    the client's fields that are left out.
    `headers` have lower-case names, as ASGI gives them. A body's length is always given (the body is in
    hand), except for methods that have none and sent none.
    """
    dropped = _NOT_FORWARDED | replaced if replaced else _NOT_FORWARDED
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            dropped |= connection_tokens([value])
    if authorization is not None:
        dropped |= {b"authorization"}
    lines = [b": ".join(field) for field in headers if field[0] not in dropped]
    if authorization:
        lines.append(b"authorization: " + authorization.encode())
    lines.append(b"x-request-id: " + request_id)
    if body_length or method not in _BODILESS:
        lines.append(b"content-length: %d" % body_length)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def with_length(lines: bytes, body_length: int) -> bytes:
    """Return the field lines of a request that has a body, for another body."""
    return b"%b%d\r\n\r\n" % (lines[: lines.rindex(b" ") + 1], body_length)


def added_lines(headers: Headers) -> bytes:
    """Return field lines that stand before those of `field_lines`, with no rule applied to them."""
    return b"".join([b"%b: %b\r\n" % field for field in headers])


def request_line(method: str, raw_path: bytes, query: bytes) -> bytes:
    """Return the request line and the start of the `Host` field; the worker's authority comes next."""
    target = b"%b?%b" % (raw_path, query) if query else raw_path
    return b"%b %b HTTP/1.1\r\nhost: " % (method.encode(), target)
