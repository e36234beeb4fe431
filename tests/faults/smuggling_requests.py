"""Requests that two readers may read differently: what each is, as bytes, and what may come of it.

`refused`: nothing of it reaches a worker, and the connection ends. `taken`: there is one reading, the RFC's, and the
worker gets exactly the requests listed. Whatever follows on the connection after a refusal is never a request.
"""

from __future__ import annotations

from dataclasses import dataclass

Seen = tuple[bytes, bytes, bytes]
"""Method, target and body of a request as the worker must have read it."""

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: r\r\n\r\n"
"""What must never reach a worker as a request."""

_LINE = b"POST /v1/completions HTTP/1.1\r\n"
_POST = _LINE + b"Host: r\r\n"
_GET = b"GET /here HTTP/1.1\r\nHost: r\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"
_BODY: Seen = (b"POST", b"/v1/completions", b"hello")
_EMPTY: Seen = (b"POST", b"/v1/completions", b"")
_HERE: Seen = (b"GET", b"/here", b"")


@dataclass(frozen=True)
class Case:
    """`sent` by a client; what the worker must have `seen`; whether the router then `closes` the connection."""

    name: str
    sent: bytes
    seen: tuple[Seen, ...] = ()
    closes: bool = False

    @property
    def refused(self) -> bool:
        """Whether nothing of it may reach a worker."""
        return not self.seen


def _refused(name: str, sent: bytes) -> Case:
    return Case(name, sent, closes=True)


def _taken(name: str, sent: bytes, *seen: Seen, closes: bool = False) -> Case:
    return Case(name, sent, seen, closes=closes)


def _fields(lines: bytes, body: bytes = b"hello") -> bytes:
    return _POST + lines + b"\r\n" + body


def _length(value: bytes) -> bytes:
    return _fields(b"Content-Length: %b\r\n" % value)


def _coding(value: bytes) -> bytes:
    return _fields(b"Transfer-Encoding: %b\r\n" % value, b"5\r\nhello\r\n" + _END)


def _chunk(data: bytes) -> bytes:
    return _CHUNKED + data


def _with(field: bytes) -> bytes:
    return _GET + field + b"\r\n\r\n"


def _line(line: bytes, host: bytes = b"Host: r\r\n") -> bytes:
    return line + b"\r\n" + host + b"\r\n"


_TWO_FRAMINGS = [
    # A reader by length would take the chunk lines as the body, or what follows the last chunk as the next request.
    _taken("cl-te", _fields(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", _END + b"G"), _EMPTY, closes=True),
    _taken(
        "cl-te-hidden",
        _fields(b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % (len(_END) + len(HIDDEN)), _END + HIDDEN),
        _EMPTY,
        closes=True,
    ),
    _taken(
        "te-cl-hidden",
        _fields(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"%x\r\n%b\r\n" % (len(HIDDEN), HIDDEN) + _END),
        (b"POST", b"/v1/completions", HIDDEN),
        closes=True,
    ),
    _taken(
        "te-cl-ends-at-a-chunk",
        _fields(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n6\r\n world\r\n" + _END),
        (b"POST", b"/v1/completions", b"hello world"),
        closes=True,
    ),
    _taken(
        "te-between-lengths",
        _fields(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n", b"5\r\nhello\r\n" + _END),
        _BODY,
        closes=True,
    ),
    _taken(
        "cl-te-keep-alive",
        _fields(
            b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n", b"5\r\nhello\r\n" + _END
        ),
        _BODY,
        closes=True,
    ),
    _refused("bad-cl-te", _fields(b"Content-Length: x\r\nTransfer-Encoding: chunked\r\n", _END)),
    _refused("cl-te-xchunked", _fields(b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n")),
    _refused("cl-te-identity", _fields(b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n")),
    _refused("http-1.0-te", b"POST / HTTP/1.0\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + _END),
    _refused(
        "http-1.0-cl-te",
        b"POST / HTTP/1.0\r\nHost: r\r\nConnection: keep-alive\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + _END,
    ),
]

_CODINGS = [
    _taken("te-chunked", _coding(b"chunked"), _BODY),
    _taken("te-upper-case", _coding(b"CHUNKED"), _BODY),
    _taken("te-name-in-odd-case", _fields(b"tRANSFER-eNCODING: cHuNkEd\r\n", b"5\r\nhello\r\n" + _END), _BODY),
    _taken("te-tab-before", _coding(b"\tchunked"), _BODY),
    _taken("te-spaces-around", _coding(b"   chunked \t "), _BODY),
    _refused("te-xchunked", _coding(b"xchunked")),
    _refused("te-chunkedx", _coding(b"chunkedx")),
    _refused("te-identity", _coding(b"identity")),
    _refused("te-empty", _coding(b"")),
    _refused("te-chunked-identity", _coding(b"chunked, identity")),
    _refused("te-identity-chunked", _coding(b"identity, chunked")),
    _refused("te-gzip-chunked", _coding(b"gzip, chunked")),
    _refused("te-chunked-chunked", _coding(b"chunked, chunked")),
    _refused("te-trailing-comma", _coding(b"chunked,")),
    _refused("te-leading-comma", _coding(b", chunked")),
    _refused("te-quoted", _coding(b'"chunked"')),
    _refused("te-parameter", _coding(b"chunked;q=1")),
    _refused("te-two-words", _coding(b"chunked x")),
    _refused("te-vertical-tab", _coding(b"\x0bchunked")),
    _refused("te-form-feed", _coding(b"chunked\x0c")),
    _refused("te-nul", _coding(b"chunked\x00")),
    _refused("te-bare-cr", _coding(b"chu\rnked")),
    _refused("te-no-break-space", _coding(b"\xa0chunked")),
    _refused("te-obs-fold", _coding(b"\r\n chunked")),
    _refused("te-obs-fold-after", _coding(b"chunked\r\n , identity")),
    _refused("te-twice", _fields(b"Transfer-Encoding: chunked\r\n" * 2, b"5\r\nhello\r\n" + _END)),
    _refused(
        "te-twice-identity-last",
        _fields(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"5\r\nhello\r\n" + _END),
    ),
    _refused(
        "te-twice-identity-first",
        _fields(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n" + _END),
    ),
    _refused("te-space-before-colon", _fields(b"Transfer-Encoding : chunked\r\n", b"5\r\nhello\r\n" + _END)),
    _refused("te-tab-before-colon", _fields(b"Transfer-Encoding\t: chunked\r\n", b"5\r\nhello\r\n" + _END)),
    _refused("te-space-before-name", _fields(b" Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n" + _END)),
    _refused("te-nul-in-name", _fields(b"Transfer-\x00Encoding: chunked\r\n", b"5\r\nhello\r\n" + _END)),
    _refused("te-bare-cr-before-name", _fields(b"X: y\rTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n" + _END)),
    # Another field by its name: there is no body, and what follows is no request.
    _taken("te-underscore", _POST + b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", _BODY),
]

_LENGTHS = [
    _taken("cl", _length(b"5"), _BODY),
    _taken("cl-leading-zeros", _length(b"0005"), _BODY),
    _taken("cl-spaces-around", _length(b" \t 5 \t"), _BODY),
    _taken("cl-twice-the-same", _fields(b"Content-Length: 5\r\nContent-Length: 5\r\n"), _BODY),
    _taken("cl-none", _POST + b"\r\n", _EMPTY),
    _taken("cl-zero", _POST + b"Content-Length: 0\r\n\r\n", _EMPTY),
    _taken(
        "cl-takes-in-what-looks-like-a-request",
        _fields(b"Content-Length: %d\r\n" % len(HIDDEN), HIDDEN),
        (b"POST", b"/v1/completions", HIDDEN),
    ),
    _refused("cl-twice-different", _fields(b"Content-Length: 5\r\nContent-Length: 0\r\n")),
    _refused("cl-twice-different-in-words", _fields(b"Content-Length: 5\r\nContent-Length: 05x\r\n")),
    _refused("cl-twice-zero-first", _fields(b"Content-Length: 0\r\nContent-Length: 5\r\n")),
    _refused("cl-list", _length(b"5, 5")),
    _refused("cl-list-different", _length(b"5,6")),
    _refused("cl-plus", _length(b"+5")),
    _refused("cl-minus", _length(b"-1")),
    _refused("cl-minus-zero", _length(b"-0")),
    _refused("cl-hex", _length(b"0x5")),
    _refused("cl-exponent", _length(b"5e0")),
    _refused("cl-fraction", _length(b"5.0")),
    _refused("cl-two-words", _length(b"5 0")),
    _refused("cl-underscore", _length(b"5_0")),
    _refused("cl-quoted", _length(b'"5"')),
    _refused("cl-empty", _length(b"")),
    _refused("cl-other-digits", _length("\u0665".encode())),
    _refused("cl-nul", _length(b"5\x00")),
    _refused("cl-vertical-tab", _length(b"\x0b5")),
    _refused("cl-64-bits-over", _length(b"18446744073709551621")),
    _refused("cl-63-bits-over", _length(b"9223372036854775813")),
    _refused("cl-forty-digits", _length(b"9" * 40)),
    _refused("cl-obs-fold", _length(b"\r\n 5")),
    _refused("cl-space-before-colon", _fields(b"Content-Length : 5\r\n")),
    _refused("cl-bare-cr", _fields(b"Content-Length: 5\rContent-Length: 0\r\n")),
    _refused("cl-after-nul", _fields(b"X: \x00\r\nContent-Length: 5\r\n")),
]

_HEADS = [
    _taken("head-line-feeds", (_POST + b"Content-Length: 5\r\n\r\n").replace(b"\r\n", b"\n") + b"hello", _BODY),
    _taken("head-one-line-feed", _POST + b"X: y\nContent-Length: 5\r\n\r\nhello", _BODY),
    _taken("head-last-line-feed", _POST + b"Content-Length: 5\r\n\nhello", _BODY),
    _taken("head-empty-line-before", b"\r\n" + _GET + b"\r\n", _HERE),
    _taken("head-empty-value", _with(b"X:"), _HERE),
    _taken("head-obs-text", _with(b"X: caf\xe9"), _HERE),
    _taken("head-many-colons", _with(b"X: a:b: c"), _HERE),
    _refused("head-bare-crs", (_POST + b"Content-Length: 5\r\n\r\n").replace(b"\r\n", b"\r") + b"hello\r\n\r\n"),
    _refused("head-cr-cr-lf", _GET + b"X: y\r\r\n\r\n"),
    _refused("head-cr-in-value", _with(b"X: a\rb")),
    _refused("head-cr-makes-field", _with(b"X: a\rContent-Length: 5")),
    _refused("head-nul-in-value", _with(b"X: a\x00b")),
    _refused("head-escape-in-value", _with(b"X: a\x1bb")),
    _refused("head-del-in-value", _with(b"X: a\x7fb")),
    _refused("head-obs-fold", _with(b"X: a\r\n b")),
    _refused("head-obs-fold-tab", _with(b"X: a\r\n\tb")),
    _refused("head-fold-before-first", b"GET /here HTTP/1.1\r\n Host: r\r\nX: y\r\n\r\n"),
    _refused("head-fold-hides-length", _with(b"X: a\r\n Content-Length: 30")),
    _refused("head-space-before-colon", _with(b"X : a")),
    _refused("head-no-colon", _with(b"X")),
    _refused("head-empty-name", _with(b": a")),
    _refused("head-space-in-name", _with(b"X Y: a")),
    _refused("head-nul-in-name", _with(b"X\x00: a")),
    _refused("head-cr-in-name", _with(b"X\rY: a")),
    _refused("head-obs-text-in-name", _with(b"X\xe9: a")),
    _refused("head-parenthesis-in-name", _with(b"X(: a")),
    _refused("head-slash-in-name", _with(b"X/: a")),
    _refused("head-quote-in-name", _with(b'"X": a')),
    _refused("head-101-fields", _GET + b"".join(b"x-%d: y\r\n" % number for number in range(101)) + b"\r\n"),
    _refused("head-too-large", _with(b"X: " + b"a" * 600_000)),
]

_HOSTS = [
    _taken("host-port", b"GET /here HTTP/1.1\r\nHost: r:80\r\n\r\n", _HERE),
    _taken("host-ipv6", b"GET /here HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", _HERE),
    _taken("host-underscore", b"GET /here HTTP/1.1\r\nHost: my_router\r\n\r\n", _HERE),
    _refused("host-missing", b"GET /here HTTP/1.1\r\nX: y\r\n\r\n"),
    _refused("host-empty", b"GET /here HTTP/1.1\r\nHost:\r\n\r\n"),
    _refused("host-twice", b"GET /here HTTP/1.1\r\nHost: r\r\nHost: other\r\n\r\n"),
    _refused("host-twice-the-same", b"GET /here HTTP/1.1\r\nHost: r\r\nHost: r\r\n\r\n"),
    _refused("host-list", b"GET /here HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    _refused("host-user", b"GET /here HTTP/1.1\r\nHost: user@r\r\n\r\n"),
    _refused("host-path", b"GET /here HTTP/1.1\r\nHost: r/path\r\n\r\n"),
    _refused("host-query", b"GET /here HTTP/1.1\r\nHost: r?x\r\n\r\n"),
    _refused("host-fragment", b"GET /here HTTP/1.1\r\nHost: r#x\r\n\r\n"),
    _refused("host-backslash", b"GET /here HTTP/1.1\r\nHost: r\\x\r\n\r\n"),
    _refused("host-space", b"GET /here HTTP/1.1\r\nHost: a b\r\n\r\n"),
    _refused("host-bad-port", b"GET /here HTTP/1.1\r\nHost: r:80x\r\n\r\n"),
    _refused("host-two-ports", b"GET /here HTTP/1.1\r\nHost: r:80:81\r\n\r\n"),
    _refused("host-obs-text", b"GET /here HTTP/1.1\r\nHost: r\xe9\r\n\r\n"),
    _refused("host-obs-fold", b"GET /here HTTP/1.1\r\nHost: r\r\n .evil\r\n\r\n"),
    _refused("host-space-before-colon", b"GET /here HTTP/1.1\r\nHost : r\r\n\r\n"),
    _taken("host-http-1.0-without", b"GET /here HTTP/1.0\r\n\r\n", _HERE, closes=True),
]

_LINES = [
    _taken("line-absolute", _line(b"GET http://r/here HTTP/1.1"), _HERE),
    _taken("line-absolute-other-host", _line(b"GET http://other/here HTTP/1.1"), _HERE),
    _taken("line-absolute-user", _line(b"GET http://user@other/here HTTP/1.1"), _HERE),
    _taken("line-absolute-without-path", _line(b"GET http://other HTTP/1.1"), (b"GET", b"/", b"")),
    _taken("line-options-of-all", _line(b"OPTIONS * HTTP/1.1"), (b"OPTIONS", b"*", b"")),
    _taken("line-own-method", _line(b"BREW /here HTTP/1.1"), (b"BREW", b"/here", b"")),
    _taken("line-encoded-line-end", _line(b"GET /a%0d%0ab HTTP/1.1"), (b"GET", b"/a%0d%0ab", b"")),
    _taken("line-double-slash", _line(b"GET //other/here HTTP/1.1"), (b"GET", b"//other/here", b"")),
    _taken("line-not-ascii", _line("GET /caf\u00e9 HTTP/1.1".encode()), (b"GET", "/caf\u00e9".encode(), b"")),
    _taken("line-dots", _line(b"GET /a/../here HTTP/1.1"), (b"GET", b"/a/../here", b"")),
    _taken(
        "line-http-1.0-keep-alive",
        b"POST /v1/completions HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        _BODY,
    ),
    _taken("line-http-1.0", b"POST /v1/completions HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", _BODY, closes=True),
    _refused("line-http-0.9", b"GET /here\r\n"),
    _refused("line-http-0.9-version", _line(b"GET /here HTTP/0.9")),
    _refused("line-http-1.2", _line(b"GET /here HTTP/1.2")),
    _refused("line-http-2.0", _line(b"GET /here HTTP/2.0")),
    _refused("line-http-lower-case", _line(b"GET /here http/1.1")),
    _refused("line-http-1.10", _line(b"GET /here HTTP/1.10")),
    _refused("line-http-01.1", _line(b"GET /here HTTP/01.1")),
    _refused("line-two-spaces", _line(b"GET  /here HTTP/1.1")),
    _refused("line-two-spaces-before-version", _line(b"GET /here  HTTP/1.1")),
    _refused("line-space-after", _line(b"GET /here HTTP/1.1 ")),
    _refused("line-space-before", _line(b" GET /here HTTP/1.1")),
    _refused("line-tabs", _line(b"GET\t/here\tHTTP/1.1")),
    _refused("line-vertical-tab", _line(b"GET\x0b/here\x0bHTTP/1.1")),
    _refused("line-space-in-target", _line(b"GET /he re HTTP/1.1")),
    _refused("line-two-versions", _line(b"GET /here HTTP/1.1 HTTP/1.1")),
    _refused("line-cr-in-target", _line(b"GET /he\rre HTTP/1.1")),
    _refused("line-nul-in-target", _line(b"GET /he\x00re HTTP/1.1")),
    _refused("line-del-in-target", _line(b"GET /he\x7fre HTTP/1.1")),
    _refused("line-method-bad", _line(b"GE(T /here HTTP/1.1")),
    _refused("line-method-colon", _line(b"GET: /here HTTP/1.1")),
    _refused("line-target-empty", _line(b"GET  HTTP/1.1")),
    _refused("line-target-without-slash", _line(b"GET here HTTP/1.1")),
    _refused("line-target-of-all-with-get", _line(b"GET * HTTP/1.1")),
    _refused("line-target-of-all-with-query", _line(b"OPTIONS *?x HTTP/1.1")),
    _refused("line-target-query-only", _line(b"GET ?here HTTP/1.1")),
    _refused("line-target-host-only", _line(b"GET r:80 HTTP/1.1")),
    _refused("line-absolute-other-scheme", _line(b"GET file:///here HTTP/1.1")),
    _refused("line-connect", _line(b"CONNECT other:443 HTTP/1.1")),
    _refused("line-connect-path", _line(b"CONNECT /here HTTP/1.1")),
    _refused("line-connect-body", b"CONNECT r:80 HTTP/1.1\r\nHost: r:80\r\nContent-Length: 5\r\n\r\nhello"),
]

_CHUNKS = [
    _taken("chunk-two", _chunk(b"2\r\nhe\r\n3\r\nllo\r\n" + _END), _BODY),
    _taken("chunk-leading-zeros", _chunk(b"0005\r\nhello\r\n000\r\n\r\n"), _BODY),
    _taken("chunk-upper-case", _chunk(b"A\r\nhellohello\r\n" + _END), (b"POST", b"/v1/completions", b"hello" * 2)),
    _taken("chunk-extension", _chunk(b"5;a=b\r\nhello\r\n0;c\r\n\r\n"), _BODY),
    _taken("chunk-extension-quoted", _chunk(b'5;a="b;c"\r\nhello\r\n' + _END), _BODY),
    _taken("chunk-trailer", _chunk(b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"), _BODY),
    _taken(
        "chunk-trailer-forbidden",
        _chunk(
            b"5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\nHost: other\r\n"
            b"Authorization: x\r\nx-request-id: trailer\r\n\r\n"
        ),
        _BODY,
    ),
    _taken("chunk-holds-what-looks-like-an-end", _chunk(b"5\r\n0\r\n\r\n\r\n" + _END), (*_BODY[:2], b"0\r\n\r\n")),
    _refused("chunk-extension-long", _chunk(b"5;" + b"a" * 200_000 + b"\r\nhello\r\n" + _END)),
    _refused("chunk-extension-line-feed", _chunk(b"5;a\nb\r\nhello\r\n" + _END)),
    _refused("chunk-extension-ends-in-line-feed", _chunk(b"5;a\nhello\r\n" + _END)),
    _refused("chunk-extension-quoted-line-feed", _chunk(b'5;a="\n"\r\nhello\r\n' + _END)),
    _refused("chunk-extension-bare-cr", _chunk(b"5;a\rb\r\nhello\r\n" + _END)),
    _refused("chunk-line-feed-after-size", _chunk(b"5\nhello\r\n" + _END)),
    _refused("chunk-bare-cr-after-size", _chunk(b"5\rhello\r\n" + _END)),
    _refused("chunk-line-feed-after-data", _chunk(b"5\r\nhello\n" + _END)),
    _refused("chunk-no-line-end-after-data", _chunk(b"5\r\nhello" + _END)),
    _refused("chunk-longer-than-its-size", _chunk(b"2\r\nhello\r\n" + _END)),
    _refused("chunk-line-feed-after-last", _chunk(b"5\r\nhello\r\n0\n\n")),
    _refused("chunk-size-empty", _chunk(b"\r\nhello\r\n" + _END)),
    _refused("chunk-size-0x", _chunk(b"0x5\r\nhello\r\n" + _END)),
    _refused("chunk-size-plus", _chunk(b"+5\r\nhello\r\n" + _END)),
    _refused("chunk-size-minus", _chunk(b"-5\r\nhello\r\n" + _END)),
    _refused("chunk-size-g", _chunk(b"g\r\nhello\r\n" + _END)),
    _refused("chunk-size-underscore", _chunk(b"0_5\r\nhello\r\n" + _END)),
    _refused("chunk-size-space-before", _chunk(b" 5\r\nhello\r\n" + _END)),
    _refused("chunk-size-two-words", _chunk(b"5 5\r\nhello\r\n" + _END)),
    _refused("chunk-size-nul", _chunk(b"5\x00\r\nhello\r\n" + _END)),
    _refused("chunk-size-64-bits-over", _chunk(b"10000000000000005\r\nhello\r\n" + _END)),
    _refused("chunk-size-forty-digits", _chunk(b"f" * 40 + b"\r\nhello\r\n" + _END)),
    _refused("chunk-trailer-no-colon", _chunk(b"5\r\nhello\r\n0\r\nno colon\r\n\r\n")),
    _refused("chunk-trailer-space-before-colon", _chunk(b"5\r\nhello\r\n0\r\nx : y\r\n\r\n")),
    _refused("chunk-trailer-bare-cr", _chunk(b"5\r\nhello\r\n0\r\nx: a\rb\r\n\r\n")),
    _refused("chunk-trailer-too-large", _chunk(b"5\r\nhello\r\n0\r\nx: " + b"a" * 600_000 + b"\r\n\r\n")),
    _refused("chunk-trailer-request", _chunk(b"5\r\nhello\r\n0\r\n" + HIDDEN)),
]

_HOP_BY_HOP = [
    _taken("hop-content-length", _fields(b"Connection: content-length\r\nContent-Length: 5\r\n"), _BODY),
    _taken(
        "hop-transfer-encoding",
        _fields(b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n" + _END),
        _BODY,
    ),
    _taken("hop-host", _with(b"Connection: host"), _HERE),
    _taken("hop-request-id", _with(b"Connection: x-request-id"), _HERE),
    _taken("hop-all", _fields(b"Connection: host, content-length, x-request-id\r\nContent-Length: 5\r\n"), _BODY),
    _taken("hop-te-trailers", _with(b"TE: trailers\r\nConnection: TE"), _HERE),
    _taken("hop-proxy-connection", _with(b"Proxy-Connection: keep-alive"), _HERE),
    _taken(
        "upgrade-h2c",
        _with(b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings"),
        _HERE,
    ),
    _taken(
        "upgrade-websocket",
        _with(
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        ),
        _HERE,
    ),
    _taken("upgrade-body", _fields(b"Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 5\r\n"), _BODY),
    _taken("expect-odd", _with(b"Expect: 200-ok"), _HERE),
    _taken("expect-without-body", _with(b"Expect: 100-continue"), _HERE),
    _taken("expect-body-at-once", _fields(b"Expect: 100-continue\r\nContent-Length: 5\r\n"), _BODY),
    _taken("expect-twice", _fields(b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"), _BODY),
]

_BODIES = [
    _taken("get-body", _GET + b"Content-Length: 5\r\n\r\nhello", (b"GET", b"/here", b"hello")),
    _taken(
        "get-body-hidden",
        _GET + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
        (b"GET", b"/here", HIDDEN),
    ),
    _taken(
        "get-body-chunked", _GET + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + _END, (*_HERE[:2], b"hello")
    ),
    _taken(
        "head-body", b"HEAD /here HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\nhello", (b"HEAD", b"/here", b"hello")
    ),
    _taken(
        "delete-body",
        b"DELETE /here HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\nhello",
        (b"DELETE", b"/here", b"hello"),
    ),
    _taken("pipelined", (_GET + b"\r\n") * 3, _HERE, _HERE, _HERE),
    _taken("pipelined-bodies", _length(b"5") + _coding(b"chunked") + _GET + b"\r\n", _BODY, _BODY, _HERE),
    Case("pipelined-then-bad", _GET + b"\r\n" + _length(b"+5"), (_HERE,), closes=True),
    Case("pipelined-then-bad-chunk", _GET + b"\r\n" + _chunk(b"zz\r\n"), (_HERE,), closes=True),
    # What is left after the length, or where there is no length, is the beginning of another request: a bad one.
    Case(
        "body-longer-than-its-length",
        _fields(b"Content-Length: 4\r\n", b"hell{}"),
        ((*_BODY[:2], b"hell"),),
        closes=True,
    ),
    Case("body-without-length", _POST + b"\r\n{}", (_EMPTY,), closes=True),
]

CASES = [
    *_TWO_FRAMINGS,
    *_CODINGS,
    *_LENGTHS,
    *_HEADS,
    *_HOSTS,
    *_LINES,
    *_CHUNKS,
    *_HOP_BY_HOP,
    *_BODIES,
]
