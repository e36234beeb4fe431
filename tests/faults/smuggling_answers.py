"""Answers of a worker that two readers may read differently: what each is, as bytes, and what may come of it.

`right`: there is one reading, and the client gets it; `wrong`: the client gets 502; `cut`: the answer had begun at the
client and is cut off. Whatever else a worker sent is never anybody's answer.
"""

from __future__ import annotations

from dataclasses import dataclass

POISON = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nx-poison: 1\r\n\r\npoisoned"
"""What must never reach a client as an answer."""

BAD_GATEWAY = b"502"

_OK = b"HTTP/1.1 200 OK\r\n"
_FIVE = b"content-length: 5\r\n"
_HELLO = _FIVE + b"\r\nhello"
_END = b"0\r\n\r\n"
_CHUNKED = _OK + b"transfer-encoding: chunked\r\n\r\n"
_ONE_CHUNK = b"5\r\nhello\r\n"
_LARGE = 1_000_000


@dataclass(frozen=True)
class Case:
    """`sent` by a worker to a `method`, then `late` once the client has its answer; whether it `closes` then.

    The client gets `status` and `body`, `whole` or cut off; `pooled` tells whether the connection is used again.
    """

    name: str
    sent: bytes
    status: bytes = b"200"
    body: bytes = b"hello"
    whole: bool = True
    pooled: bool = False
    method: bytes = b"POST"
    late: bytes = b""
    closes: bool = False


def _right(
    name: str,
    sent: bytes,
    *,
    body: bytes = b"hello",
    status: bytes = b"200",
    pooled: bool = True,
    method: bytes = b"POST",
    late: bytes = b"",
    closes: bool = False,
) -> Case:
    return Case(name, sent, status, body, pooled=pooled, method=method, late=late, closes=closes)


def _wrong(name: str, sent: bytes, *, method: bytes = b"POST", closes: bool = False) -> Case:
    return Case(name, sent, BAD_GATEWAY, b"", method=method, closes=closes)


def _cut(name: str, sent: bytes, *, closes: bool = False) -> Case:
    return Case(name, sent, whole=False, closes=closes)


def _length(value: bytes) -> bytes:
    return _OK + b"content-length: %b\r\n\r\nhello" % value


def _coding(value: bytes) -> bytes:
    return _OK + b"transfer-encoding: %b\r\n\r\n" % value + _ONE_CHUNK + _END


def _chunk(data: bytes) -> bytes:
    return _CHUNKED + data


def _with(fields: bytes) -> bytes:
    return _OK + fields + b"\r\n" + _HELLO


def _line(line: bytes) -> bytes:
    return line + b"\r\n" + _HELLO


_LENGTHS = [
    _right("cl", _length(b"5")),
    _right("cl-leading-zeros", _length(b"005")),
    _right("cl-spaces-around", _length(b"  5 \t")),
    _wrong("cl-twice", _OK + _FIVE + _HELLO),
    _wrong("cl-twice-different", _OK + b"content-length: 0\r\n" + _HELLO),
    _wrong("cl-twice-different-case", _OK + b"Content-Length: 6\r\n" + _HELLO),
    _wrong("cl-list", _length(b"5, 5")),
    _wrong("cl-list-different", _length(b"5,6")),
    _wrong("cl-plus", _length(b"+5")),
    _wrong("cl-minus", _length(b"-5")),
    _wrong("cl-hex", _length(b"0x5")),
    _wrong("cl-exponent", _length(b"5e0")),
    _wrong("cl-fraction", _length(b"5.0")),
    _wrong("cl-two-words", _length(b"5 5")),
    _wrong("cl-underscore", _length(b"0_5")),
    _wrong("cl-empty", _length(b"")),
    _wrong("cl-nul", _length(b"5\x00")),
    _wrong("cl-vertical-tab", _length(b"\x0b5")),
    _wrong("cl-64-bits-over", _length(b"18446744073709551621")),
    _wrong("cl-forty-digits", _length(b"9" * 40)),
    _wrong("cl-obs-fold", _length(b"\r\n 5")),
    _wrong("cl-obs-fold-after", _length(b"5\r\n 5")),
    _wrong("cl-space-before-colon", _OK + b"content-length : 5\r\n\r\nhello"),
    _wrong("cl-too-large", _length(b"6"), closes=True),
    _cut("cl-far-too-large", _length(b"100000"), closes=True),
    _right("cl-hop-by-hop", _OK + b"connection: content-length\r\n" + _HELLO),
]

_CODINGS = [
    _right("te-chunked", _coding(b"chunked")),
    _right("te-upper-case", _coding(b"CHUNKED")),
    _right("te-spaces-before", _coding(b" \tchunked")),
    _right("te-space-after", _coding(b"chunked ")),
    _right(
        "te-hop-by-hop",
        _OK + b"connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n" + _END,
    ),
    _right("te-underscore", _OK + b"transfer_encoding: chunked\r\n" + _HELLO),
    _wrong("cl-te", _OK + _FIVE + b"transfer-encoding: chunked\r\n\r\n" + _ONE_CHUNK + _END),
    _wrong("te-cl", _OK + b"transfer-encoding: chunked\r\n" + _FIVE + b"\r\n" + _ONE_CHUNK + _END),
    _wrong("te-cl-zero", _OK + b"transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n" + _ONE_CHUNK + _END),
    _wrong("te-gzip", _coding(b"gzip"), closes=True),
    _wrong("te-gzip-chunked", _coding(b"gzip, chunked")),
    _wrong("te-chunked-chunked", _coding(b"chunked, chunked")),
    _wrong("te-chunked-identity", _coding(b"chunked, identity"), closes=True),
    _wrong("te-identity", _coding(b"identity"), closes=True),
    _wrong("te-xchunked", _coding(b"xchunked"), closes=True),
    _wrong("te-chunkedx", _coding(b"chunkedx"), closes=True),
    _wrong("te-empty", _coding(b""), closes=True),
    _wrong("te-leading-comma", _coding(b", chunked")),
    _wrong("te-vertical-tab", _coding(b"\x0bchunked")),
    _wrong("te-nul", _coding(b"chunked\x00")),
    _wrong("te-obs-fold", _coding(b"\r\n chunked")),
    _wrong("te-twice", _OK + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n" + _ONE_CHUNK + _END),
    _wrong(
        "te-twice-gzip-first",
        _OK + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n" + _ONE_CHUNK + _END,
    ),
    _wrong("te-http-1.0", b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + _ONE_CHUNK + _END),
    _wrong("te-space-before-colon", _OK + b"transfer-encoding : chunked\r\n\r\n" + _ONE_CHUNK + _END),
]

_CHUNKS = [
    _right("chunk-two", _chunk(b"2\r\nhe\r\n3\r\nllo\r\n" + _END)),
    _right("chunk-leading-zeros", _chunk(b"0005\r\nhello\r\n000\r\n\r\n")),
    _right("chunk-extension", _chunk(b"5;a=b\r\nhello\r\n0;c\r\n\r\n")),
    _right("chunk-extension-quoted", _chunk(b'5;a="b;c"\r\nhello\r\n' + _END)),
    _right("chunk-trailer", _chunk(_ONE_CHUNK + b"0\r\nx-sum: 1\r\n\r\n")),
    _right(
        "chunk-trailer-forbidden",
        _chunk(_ONE_CHUNK + b"0\r\nx-poison: 1\r\nset-cookie: a=b\r\n\r\n"),
    ),
    _right("chunk-holds-poison", _chunk(b"%x\r\n%b\r\n" % (len(POISON), POISON) + _END), body=POISON),
    _wrong("chunk-extension-line-feed", _chunk(b"5;a\nb\r\nhello\r\n" + _END)),
    _wrong("chunk-extension-quoted-line-feed", _chunk(b'5;a="\n"\r\nhello\r\n' + _END)),
    _wrong("chunk-extension-bare-cr", _chunk(b"5;a\rb\r\nhello\r\n" + _END)),
    _wrong("chunk-extension-endless", _chunk(b"5;" + b"a" * _LARGE)),
    _wrong("chunk-line-feed-after-size", _chunk(b"5\nhello\r\n" + _END)),
    _wrong("chunk-bare-cr-after-size", _chunk(b"5\rhello\r\n" + _END)),
    _wrong("chunk-line-feed-after-data", _chunk(b"5\r\nhello\n" + _END)),
    _wrong("chunk-no-line-end-after-data", _chunk(b"5\r\nhello" + _END)),
    _wrong("chunk-longer-than-its-size", _chunk(b"2\r\nhello\r\n" + _END)),
    _wrong("chunk-size-empty", _chunk(b"\r\nhello\r\n" + _END)),
    _wrong("chunk-size-0x", _chunk(b"0x5\r\nhello\r\n" + _END)),
    _wrong("chunk-size-plus", _chunk(b"+5\r\nhello\r\n" + _END)),
    _wrong("chunk-size-minus", _chunk(b"-5\r\nhello\r\n" + _END)),
    _wrong("chunk-size-g", _chunk(b"g\r\nhello\r\n" + _END)),
    _wrong("chunk-size-space-before", _chunk(b" 5\r\nhello\r\n" + _END)),
    _wrong("chunk-size-space-after", _chunk(b"5 \r\nhello\r\n" + _END)),
    _wrong("chunk-size-nul", _chunk(b"5\x00\r\nhello\r\n" + _END)),
    _wrong("chunk-size-64-bits-over", _chunk(b"10000000000000005\r\nhello\r\n" + _END)),
    _wrong("chunk-size-forty-digits", _chunk(b"f" * 40 + b"\r\nhello\r\n" + _END)),
    _wrong("chunk-size-endless-zeros", _chunk(b"0" * _LARGE)),
    _wrong("chunk-ends-in-the-middle", _chunk(b"5\r\nhe"), closes=True),
    _cut("chunk-ends-before-the-last", _chunk(_ONE_CHUNK), closes=True),
    _cut("chunk-ends-in-the-last", _chunk(_ONE_CHUNK + b"0\r\n"), closes=True),
    _cut("chunk-second-bad", _chunk(_ONE_CHUNK + b"zz\r\nhello\r\n" + _END)),
    _cut("chunk-poison-for-a-chunk", _chunk(_ONE_CHUNK + POISON)),
    _cut("chunk-last-with-line-feeds", _chunk(_ONE_CHUNK + b"0\n\n")),
    _cut("chunk-last-without-its-end", _chunk(_ONE_CHUNK + b"0\r\n" + POISON)),
    _cut("chunk-trailer-no-colon", _chunk(_ONE_CHUNK + b"0\r\nno colon\r\n\r\n")),
    _cut("chunk-trailer-bare-cr", _chunk(_ONE_CHUNK + b"0\r\nx: a\rb\r\n\r\n")),
    _cut("chunk-trailer-endless-value", _chunk(_ONE_CHUNK + b"0\r\nx: " + b"a" * _LARGE)),
    _cut("chunk-trailer-endless-fields", _chunk(_ONE_CHUNK + b"0\r\n" + b"x: y\r\n" * (_LARGE // 6))),
]

_AFTER = [
    _right("after-length", _OK + _HELLO + POISON, pooled=False),
    _right("after-length-a-byte", _OK + _HELLO + b"x", pooled=False),
    _right("after-length-an-interim-answer", _OK + _HELLO + b"HTTP/1.1 100 Continue\r\n\r\n", pooled=False),
    _right("after-empty", _OK + b"content-length: 0\r\n\r\n" + POISON, body=b"", pooled=False),
    _right("after-chunks", _chunk(_ONE_CHUNK + _END + POISON), pooled=False),
    _right("after-chunks-another-end", _chunk(_ONE_CHUNK + _END + _END), pooled=False),
    _right("after-close", _OK + b"connection: close\r\n" + _HELLO + POISON, pooled=False),
    _right("late-after-length", _OK + _HELLO, late=POISON, pooled=False),
    _right("late-after-chunks", _chunk(_ONE_CHUNK + _END), late=POISON, pooled=False),
    _right("late-half-an-answer", _OK + _HELLO, late=POISON[:30], pooled=False),
    _right("late-line-end", _OK + _HELLO, late=b"\r\n", pooled=False),
    _right("late-interim-answer", _OK + _HELLO, late=b"HTTP/1.1 100 Continue\r\n\r\n", pooled=False),
    _right("late-request-timeout", _OK + _HELLO, late=b"HTTP/1.1 408 X\r\ncontent-length: 0\r\n\r\n", pooled=False),
]

_INTERIM = [
    _right("1xx-continue", b"HTTP/1.1 100 Continue\r\n\r\n" + _OK + _HELLO),
    _right("1xx-early-hints", b"HTTP/1.1 103 X\r\nlink: </x>\r\nx-poison: 1\r\n\r\n" + _OK + _HELLO),
    _right("1xx-unknown", b"HTTP/1.1 199 X\r\n\r\n" + _OK + _HELLO),
    _right("1xx-many", b"HTTP/1.1 102 X\r\n\r\n" * 20 + _OK + _HELLO),
    _right("1xx-then-chunks", b"HTTP/1.1 103 X\r\n\r\n" + _chunk(_ONE_CHUNK + _END)),
    _wrong("1xx-flood", b"HTTP/1.1 102 X\r\n\r\n" * (_LARGE // 18)),
    _wrong("1xx-length", b"HTTP/1.1 103 X\r\ncontent-length: %d\r\n\r\n" % len(POISON) + POISON + _OK + _HELLO),
    _right("1xx-length-zero", b"HTTP/1.1 103 X\r\ncontent-length: 0\r\n\r\n" + _OK + _HELLO),
    _wrong("1xx-coding", b"HTTP/1.1 103 X\r\ntransfer-encoding: chunked\r\n\r\n" + _OK + _HELLO),
    _wrong(
        "1xx-coding-body",
        b"HTTP/1.1 103 X\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(POISON), POISON)
        + _END
        + _OK
        + _HELLO,
    ),
    _wrong("1xx-only", b"HTTP/1.1 100 Continue\r\n\r\n", closes=True),
    _wrong("1xx-http-1.0", b"HTTP/1.0 100 Continue\r\n\r\n" + _OK + _HELLO),
    _wrong("101", b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n" + POISON),
    _wrong("101-without-upgrade", b"HTTP/1.1 101 X\r\n\r\n" + POISON),
    _right("200-upgrade", _OK + b"connection: upgrade\r\nupgrade: x\r\n" + _HELLO),
]

_NO_BODY = [
    _right("204", b"HTTP/1.1 204 X\r\n\r\n", status=b"204", body=b""),
    _right("204-length-zero", b"HTTP/1.1 204 X\r\ncontent-length: 0\r\n\r\n", status=b"204", body=b""),
    _right("204-length", b"HTTP/1.1 204 X\r\n" + _FIVE + b"\r\n", status=b"204", body=b"", pooled=False),
    _right("204-body", b"HTTP/1.1 204 X\r\n" + _HELLO, status=b"204", body=b"", pooled=False),
    _right(
        "204-coding", b"HTTP/1.1 204 X\r\ntransfer-encoding: chunked\r\n\r\n", status=b"204", body=b"", pooled=False
    ),
    _right(
        "204-chunks",
        b"HTTP/1.1 204 X\r\ntransfer-encoding: chunked\r\n\r\n" + _ONE_CHUNK + _END,
        status=b"204",
        body=b"",
        pooled=False,
    ),
    _right("204-poison", b"HTTP/1.1 204 X\r\n\r\n" + POISON, status=b"204", body=b"", pooled=False),
    _right("304", b"HTTP/1.1 304 X\r\n\r\n", status=b"304", body=b""),
    _right("304-length", b"HTTP/1.1 304 X\r\n" + _FIVE + b"\r\n", status=b"304", body=b""),
    _right(
        "304-coding", b"HTTP/1.1 304 X\r\ntransfer-encoding: chunked\r\n\r\n", status=b"304", body=b"", pooled=False
    ),
    _right("304-body", b"HTTP/1.1 304 X\r\n" + _HELLO, status=b"304", body=b"", pooled=False),
    _right(
        "304-poison-by-length",
        b"HTTP/1.1 304 X\r\ncontent-length: %d\r\n\r\n" % len(POISON) + POISON,
        status=b"304",
        body=b"",
        pooled=False,
    ),
    _right("head-length", _OK + _FIVE + b"\r\n", method=b"HEAD", body=b""),
    _right("head-coding", _CHUNKED, method=b"HEAD", body=b""),
    _right("head-no-length", _OK + b"\r\n", method=b"HEAD", body=b"", pooled=False),
    _right("head-body", _OK + _HELLO, method=b"HEAD", body=b"", pooled=False),
    _right("head-body-without-length", _OK + b"\r\nhello", method=b"HEAD", body=b"", pooled=False),
    _right("head-chunks", _chunk(_ONE_CHUNK + _END), method=b"HEAD", body=b"", pooled=False),
    _right("head-half-a-chunk-line", _chunk(b"5"), method=b"HEAD", body=b"", pooled=False),
    _right("head-chunk-line", _chunk(b"5\r\n"), method=b"HEAD", body=b"", pooled=False),
    _right("head-last-chunk", _chunk(_END), method=b"HEAD", body=b"", pooled=False),
    _right("head-poison", _OK + b"content-length: 0\r\n\r\n" + POISON, method=b"HEAD", body=b"", pooled=False),
    _right("head-late-body", _OK + _FIVE + b"\r\n", late=b"hello", method=b"HEAD", body=b"", pooled=False),
    _right("head-late-poison", _OK + _FIVE + b"\r\n", late=POISON, method=b"HEAD", body=b"", pooled=False),
    _wrong("head-cl-te", _OK + _FIVE + b"transfer-encoding: chunked\r\n\r\n", method=b"HEAD"),
]

_LINES = [
    _right("line-no-reason", _line(b"HTTP/1.1 200 ")),
    _right("line-odd-reason", _line(b"HTTP/1.1 200 \xe9t\xe9: (a) b")),
    _right("line-599", _line(b"HTTP/1.1 599 X"), status=b"599"),
    _right("line-http-1.0", _line(b"HTTP/1.0 200 OK"), pooled=False),
    _right("line-http-1.0-keep-alive", _line(b"HTTP/1.0 200 OK\r\nconnection: keep-alive")),
    _wrong("line-http-0.9", _line(b"HTTP/0.9 200 OK")),
    _wrong("line-http-1.2", _line(b"HTTP/1.2 200 OK")),
    _wrong("line-http-2.0", _line(b"HTTP/2.0 200 OK")),
    _wrong("line-http-2", _line(b"HTTP/2 200 OK")),
    _wrong("line-http-lower-case", _line(b"http/1.1 200 OK")),
    _wrong("line-http-1.10", _line(b"HTTP/1.10 200 OK")),
    _wrong("line-icy", _line(b"ICY 200 OK")),
    # llhttp takes these for HTTP, which they are in all but name.
    _right("line-rtsp", _line(b"RTSP/1.0 200 OK"), pooled=False),
    _right("line-ice", _line(b"ICE/1.0 200 OK"), pooled=False),
    # Nothing of the reason is passed on, and no byte but a line's end can end it.
    _right("line-nul-in-reason", _line(b"HTTP/1.1 200 O\x00K")),
    _wrong("line-two-digits", _line(b"HTTP/1.1 20 OK")),
    _wrong("line-four-digits", _line(b"HTTP/1.1 2000 OK")),
    _wrong("line-letters", _line(b"HTTP/1.1 2O0 OK")),
    _wrong("line-plus", _line(b"HTTP/1.1 +20 OK")),
    _wrong("line-000", _line(b"HTTP/1.1 000 OK")),
    _wrong("line-099", _line(b"HTTP/1.1 099 OK")),
    _wrong("line-600", _line(b"HTTP/1.1 600 OK")),
    _wrong("line-999", _line(b"HTTP/1.1 999 OK")),
    _wrong("line-two-spaces", _line(b"HTTP/1.1  200 OK")),
    _wrong("line-tabs", _line(b"HTTP/1.1\t200\tOK")),
    _wrong("line-space-before", _line(b" HTTP/1.1 200 OK")),
    _wrong("line-cr-in-reason", _line(b"HTTP/1.1 200 OK\rx: y")),
    _wrong("line-bare-lf", b"HTTP/1.1 200 OK\n" + _HELLO),
    _wrong("line-is-a-request", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
    _wrong("line-missing", _HELLO),
    _wrong("line-html", b"<html>hello</html>\r\n\r\n", closes=True),
]

_HEADS = [
    _right("head-empty-value", _with(b"x:")),
    _right("head-obs-text", _with(b"x: caf\xe9")),
    _right("head-many-fields", _OK + b"".join(b"x-%d: y\r\n" % number for number in range(90)) + _HELLO),
    _right("head-long-value", _with(b"x: " + b"a" * 30_000)),
    _wrong("head-nul-in-value", _with(b"x: a\x00b")),
    _wrong("head-cr-in-value", _with(b"x: a\rb")),
    _wrong("head-cr-cr-lf", _with(b"x: a\r")),
    _wrong("head-escape-in-value", _with(b"x: a\x1bb")),
    _wrong("head-del-in-value", _with(b"x: a\x7fb")),
    _wrong("head-bare-lf", _OK + b"x: y\n" + _HELLO),
    _wrong("head-bare-lfs", (_OK + _HELLO).replace(b"\r\n", b"\n")),
    _wrong("head-last-line-feed", _OK + _FIVE + b"\nhello"),
    _wrong("head-bare-crs", (_OK + _HELLO).replace(b"\r\n", b"\r")),
    _wrong("head-obs-fold", _with(b"x: a\r\n b")),
    _wrong("head-obs-fold-tab", _with(b"x: a\r\n\tb")),
    _wrong("head-fold-before-first", _with(b" x: a")),
    _wrong("head-fold-hides-poison", _with(b"x: a\r\n " + POISON)),
    _wrong("head-no-colon", _with(b"x")),
    _wrong("head-empty-name", _with(b": a")),
    _wrong("head-space-before-colon", _with(b"x : a")),
    _wrong("head-space-in-name", _with(b"x y: a")),
    _wrong("head-nul-in-name", _with(b"x\x00: a")),
    _wrong("head-obs-text-in-name", _with(b"x\xe9: a")),
    _wrong("head-poison-in-value", _with(b"x: a\r" + POISON.replace(b"\r\n", b"\r"))),
    _wrong("head-endless-value", _OK + b"x: " + b"a" * _LARGE),
    _wrong("head-endless-name", _OK + b"a" * _LARGE),
    _wrong("head-endless-reason", b"HTTP/1.1 200 " + b"a" * _LARGE),
    _wrong("head-endless-fields", _OK + b"x: y\r\n" * (_LARGE // 6)),
    _wrong("head-too-large", _with(b"x: " + b"a" * _LARGE)),
    _wrong("head-too-many-fields", _OK + b"".join(b"x-%d: y\r\n" % number for number in range(2000)) + _HELLO),
    _wrong("head-ends-in-the-line", b"HTTP/1.1 2", closes=True),
    _wrong("head-ends-in-a-field", _OK + b"content-le", closes=True),
    _wrong("head-ends-before-its-end", _OK + _FIVE, closes=True),
]

_CLOSES = [
    _right("close-delimited", _OK + b"\r\nhello", pooled=False, closes=True),
    _right("close-delimited-1.0", b"HTTP/1.0 200 OK\r\n\r\nhello", pooled=False, closes=True),
    _right("close-delimited-empty", _OK + b"\r\n", body=b"", pooled=False, closes=True),
    _right("close-delimited-poison", _OK + b"\r\n" + POISON, body=POISON, pooled=False, closes=True),
    _right("close-token", _OK + b"connection: close\r\n" + _HELLO, pooled=False),
    _right("close-token-in-a-list", _OK + b"connection: x, CLOSE\r\n" + _HELLO, pooled=False),
    _right(
        "close-token-in-two-fields", _OK + b"connection: keep-alive\r\nconnection: close\r\n" + _HELLO, pooled=False
    ),
    _right("close-after-length", _OK + _HELLO, pooled=False, closes=True),
]

CASES = [
    *_LENGTHS,
    *_CODINGS,
    *_CHUNKS,
    *_AFTER,
    *_INTERIM,
    *_NO_BODY,
    *_LINES,
    *_HEADS,
    *_CLOSES,
]
