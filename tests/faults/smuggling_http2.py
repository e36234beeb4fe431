"""HTTP/2 requests that would become something else in HTTP/1.1, written without any check."""

from __future__ import annotations

from dataclasses import dataclass

Header = tuple[bytes, bytes]
Seen = tuple[bytes, bytes, bytes]

_HIDDEN = b" HTTP/1.1\r\nhost: r\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: r\r\n\r\n"
_BODY: Seen = (b"POST", b"/here", b"hello")


@dataclass(frozen=True)
class Case:
    """Header fields, DATA frames and trailers; what the worker must have seen of it, if anything."""

    name: str
    fields: tuple[Header, ...]
    data: tuple[bytes, ...] = (b"hello",)
    trailers: tuple[Header, ...] = ()
    seen: Seen | None = None


def _pseudo(
    method: bytes = b"POST", path: bytes = b"/here", scheme: bytes = b"http", authority: bytes = b"r"
) -> tuple[Header, ...]:
    return (b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)


def _refused(name: str, *fields: Header, data: tuple[bytes, ...] = (b"hello",)) -> Case:
    return Case(name, (*_pseudo(), *fields), data)


def _taken(name: str, *fields: Header, seen: Seen = _BODY) -> Case:
    return Case(name, (*_pseudo(), *fields), seen=seen)


_LENGTH = (b"content-length", b"5")

CASES = [
    _taken("plain"),
    _taken("length", _LENGTH),
    Case("no-body", _pseudo(method=b"GET"), (), seen=(b"GET", b"/here", b"")),
    Case("two-frames", _pseudo(), (b"he", b"llo"), seen=_BODY),
    Case("empty-frames", _pseudo(), (b"", b"hello", b""), seen=_BODY),
    Case(
        "body-is-a-request",
        _pseudo(),
        (b"GET /smuggled HTTP/1.1\r\nhost: r\r\n\r\n",),
        seen=(*_BODY[:2], b"GET /smuggled HTTP/1.1\r\nhost: r\r\n\r\n"),
    ),
    Case("trailers", (*_pseudo(),), trailers=((b"content-length", b"50"), (b"x-sum", b"1")), seen=_BODY),
    _taken("te-trailers", (b"te", b"trailers")),
    _taken("other-host", (b"host", b"other")),
    _taken("expect", (b"expect", b"100-continue"), _LENGTH),
    Case("no-authority", tuple(field for field in _pseudo() if field[0] != b":authority"), seen=_BODY),
    # --- framing
    _refused("length-too-small", (b"content-length", b"4")),
    _refused("length-ends-with-a-frame", (b"content-length", b"4"), data=(b"hell", b"o")),
    _refused("length-zero", (b"content-length", b"0")),
    _refused("length-too-large", (b"content-length", b"50")),
    _refused("length-without-data", _LENGTH, data=()),
    _refused("length-plus", (b"content-length", b"+5")),
    _refused("length-minus", (b"content-length", b"-5")),
    _refused("length-hex", (b"content-length", b"0x5")),
    _refused("length-list", (b"content-length", b"5, 5")),
    _refused("length-words", (b"content-length", b"five")),
    _refused("length-empty", (b"content-length", b"")),
    _refused("length-line-end", (b"content-length", b"5\r\ntransfer-encoding: chunked")),
    _refused("length-64-bits-over", (b"content-length", b"18446744073709551621")),
    _refused("length-twice-different", _LENGTH, (b"content-length", b"50")),
    _refused("length-twice-different-swapped", (b"content-length", b"50"), _LENGTH),
    _refused("transfer-encoding", (b"transfer-encoding", b"chunked")),
    _refused("transfer-encoding-and-length", (b"transfer-encoding", b"chunked"), _LENGTH),
    _refused("transfer-encoding-identity", (b"transfer-encoding", b"identity")),
    _refused("connection", (b"connection", b"close")),
    _refused("connection-names-length", (b"connection", b"content-length"), _LENGTH),
    _refused("keep-alive", (b"keep-alive", b"timeout=5")),
    _refused("proxy-connection", (b"proxy-connection", b"keep-alive")),
    _refused("upgrade", (b"upgrade", b"h2c")),
    _refused("te-gzip", (b"te", b"gzip")),
    # --- line ends where HTTP/1.1 has none
    _refused("value-line-end", (b"x", b"a\r\ntransfer-encoding: chunked")),
    _refused("value-line-feed", (b"x", b"a\ntransfer-encoding: chunked")),
    _refused("value-cr", (b"x", b"a\rb")),
    _refused("value-nul", (b"x", b"a\x00b")),
    _refused("value-head-end", (b"x", b"a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: r\r\n\r\n")),
    _refused("request-id-line-end", (b"x-request-id", b"a\r\nx: y")),
    _refused("name-line-end", (b"x\r\ntransfer-encoding", b"chunked")),
    _refused("name-colon", (b"transfer-encoding: chunked\r\nx", b"y")),
    _refused("name-space", (b"x y", b"z")),
    _refused("name-space-after", (b"content-length ", b"50")),
    _refused("name-nul", (b"x\x00", b"y")),
    _refused("name-upper-case", (b"Transfer-Encoding", b"chunked")),
    _refused("name-empty", (b"", b"y")),
    Case("path-line-end", _pseudo(path=b"/here" + _HIDDEN)),
    Case("path-space", _pseudo(path=b"/here HTTP/1.1")),
    Case("path-tab", _pseudo(path=b"/he\tre")),
    Case("path-cr", _pseudo(path=b"/he\rre")),
    Case("path-nul", _pseudo(path=b"/he\x00re")),
    Case("path-empty", _pseudo(path=b"")),
    Case("path-without-slash", _pseudo(path=b"here")),
    Case("path-of-all", _pseudo(path=b"*")),
    Case("query-line-end", _pseudo(path=b"/here?a" + _HIDDEN)),
    Case("method-line-end", _pseudo(method=b"GET /here" + _HIDDEN + b"POST")),
    Case("method-space", _pseudo(method=b"GET /smuggled")),
    Case("method-empty", _pseudo(method=b"")),
    Case("connect", ((b":method", b"CONNECT"), (b":authority", b"r:80"))),
    Case("connect-path", _pseudo(method=b"CONNECT")),
    Case("authority-line-end", _pseudo(authority=b"r\r\ntransfer-encoding: chunked")),
    Case("authority-space", _pseudo(authority=b"a b")),
    Case("authority-user", _pseudo(authority=b"user@r")),
    Case("authority-path", _pseudo(authority=b"r/smuggled")),
    Case("scheme-line-end", _pseudo(scheme=b"http\r\nx: y")),
    _refused("host-twice", (b"host", b"a"), (b"host", b"b")),
    _refused("host-space", (b"host", b"a b")),
    # --- pseudo-header fields
    _refused("pseudo-unknown", (b":smuggled", b"x")),
    _refused("pseudo-after-fields", (b"x", b"y"), (b":path", b"/smuggled")),
    _refused("pseudo-twice", (b":path", b"/smuggled")),
    _refused("pseudo-method-twice", (b":method", b"GET")),
    _refused("pseudo-of-an-answer", (b":status", b"200")),
    Case("pseudo-no-method", _pseudo()[1:]),
    Case("pseudo-no-path", _pseudo()[:3]),
    # The server drops these, and the router drops all trailers.
    Case("pseudo-in-trailers", _pseudo(), trailers=((b":path", b"/smuggled"),), seen=_BODY),
    Case("trailers-line-end", _pseudo(), trailers=((b"x", b"a\r\n\r\nGET /smuggled HTTP/1.1\r\n"),)),
    Case("trailers-transfer-encoding", _pseudo(), trailers=((b"transfer-encoding", b"chunked"),)),
]
