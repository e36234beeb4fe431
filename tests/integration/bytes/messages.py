"""Writing requests and answers byte by byte, and random bodies for them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

from hypothesis import strategies as st

Field = tuple[bytes, bytes]

STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
CHUNKED = (b"transfer-encoding", b"chunked")


def lines(fields: Iterable[Field]) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def request(
    target: bytes = b"/v1/completions",
    *,
    method: bytes = b"POST",
    fields: Sequence[Field] = (),
    body: bytes | None = None,
    chunks: Sequence[bytes] | None = None,
) -> bytes:
    """A request with a body of known length, or in these chunks, or without one."""
    head = b"%b %b HTTP/1.1\r\nHost: router\r\n%b" % (method, target, lines(fields))
    if chunks is not None:
        return head + b"transfer-encoding: chunked\r\n\r\n" + in_chunks(chunks)
    if body is not None:
        return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    return head + b"\r\n"


def answer(
    body: bytes = b"ok", *, status: bytes = b"200 OK", fields: Sequence[Field] = (), version: bytes = b"HTTP/1.1"
) -> bytes:
    """An answer whose length is told."""
    return b"%b %b\r\n%bcontent-length: %d\r\n\r\n%b" % (version, status, lines(fields), len(body), body)


def bodiless(status: bytes, fields: Sequence[Field] = ()) -> bytes:
    """An answer that is nothing but a head."""
    return b"HTTP/1.1 %b\r\n%b\r\n" % (status, lines(fields))


def chunked(
    *chunks: bytes, status: bytes = b"200 OK", fields: Sequence[Field] = (STREAM,), trailers: Sequence[Field] = ()
) -> bytes:
    return b"HTTP/1.1 %b\r\n%b\r\n%b" % (status, lines([*fields, CHUNKED]), in_chunks(chunks, trailers))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def in_chunks(chunks: Iterable[bytes], trailers: Sequence[Field] = ()) -> bytes:
    return b"".join(map(chunk, chunks)) + b"0\r\n" + lines(trailers) + b"\r\n"


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut at these places, modulo the length; no piece is empty."""
    at = sorted({place % (len(data) or 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(at)]


# --- random bodies ---------------------------------------------------------------------------------------

SCALARS = [
    *("1.0", "1e2", "1E+2", "-0", "-0.0", "0.10", "1e-7", "9" * 400, "1e999", "1.7976931348623157e308", "-1E-400"),
    *("NaN", "Infinity", "-Infinity", "nan", "01", "+1", ".5", "0x10", "1_000"),
    *("true", "false", "null", "True", "None", "undefined", "'single'"),
    *('"\\u0041"', '"\\/"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\u0000"', '"\\q"', '"\\u00e9\\n"', '""', '"\u00e9"'),
    *('"\u2028"', '"\U0001f600"', '"\ufeff"', '"a\tb"', '"data: [DONE]\\n\\n"', '"</script>"', '"%s%n"'),
]
KEYS = [
    *("model", "stream", "messages", "prompt", "chat_template_kwargs", "tools", "temperature", "user", ""),
    *("\\u006dodel", "mod\\u0065l", "Model", "x_unknown", "\u00e9", "__proto__", "request_id"),
]
SPACES = ["", "", "", " ", "  ", "\t", "\n", "\r\n", " \t\r\n", "\v", "\f", "\u00a0", "/* no */"]
EDGES = [
    b"",
    b"",
    b"",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b" ",
    b"\n\n",
    b"\x00",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
]


def random_body(rng: random.Random) -> bytes:
    """Mostly JSON that a router which decodes and encodes again would not pass on as it is; or no JSON at all."""
    kind = rng.random()
    if kind < 0.04:
        return b""
    if kind < 0.12:
        return rng.randbytes(int(min(rng.paretovariate(0.5), 1e9)) % 20_000)
    if kind < 0.16:
        # Python's own parser, vLLM's server's, ends near 1000: what is deeper is refused.
        depth = rng.randrange(1, 900)
        return b'{"model":' + b"[" * depth + b"]" * rng.choice([depth, depth - 1]) + b"}"
    if kind < 0.24:
        return json.dumps({"model": "m", "prompt": "x" * rng.randrange(200_000)}).encode()
    body = _random_value(rng, 0).encode("utf-8", "surrogatepass")
    if kind < 0.34:
        # Cut off, or with a byte changed: what is no JSON is passed on for the worker to judge.
        at = rng.randrange(len(body) + 1)
        body = body[:at] + rng.choice([b"", rng.randbytes(1) + body[at + 1 :]])
    return rng.choice(EDGES) + body + rng.choice(EDGES)


def _random_value(rng: random.Random, depth: int) -> str:
    def space() -> str:
        return rng.choice(SPACES) if rng.random() < 0.3 else ""

    if depth and rng.random() < 0.2 + 0.15 * depth:
        return rng.choice(SCALARS)
    if depth and rng.random() < 0.3:
        return f"[{','.join(space() + _random_value(rng, depth + 1) + space() for _ in range(rng.randrange(4)))}]"
    members = [
        f'{space()}"{rng.choice(KEYS)}"{space()}:{space()}{_random_value(rng, depth + 1)}'
        for _ in range(rng.randrange(1, 7))
    ]
    return "{" + ",".join(members) + space() + "}"


def random_pieces(rng: random.Random, body: bytes) -> list[bytes]:
    """Cut a body at up to 12 places; none of the pieces is empty."""
    return [piece for piece in cut(body, (rng.randrange(len(body) + 1) for _ in range(rng.randrange(13)))) if piece]


bodies = st.one_of(st.binary(max_size=3000), st.randoms(use_true_random=False).map(random_body))
cuts = st.lists(st.integers(0, 100_000), max_size=12)
