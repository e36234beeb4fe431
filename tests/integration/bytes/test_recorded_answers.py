"""G-BYTES-2 with recorded answers of real vLLM: the same bytes, apart from the differences that are declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.bytes.messages import CHUNKED, request
from tests.integration.bytes.raw_client import RawClient
from tests.integration.bytes.raw_worker import RawWorker, saying

# A stream that begins with an error is none: it is answered by the error's status, or made anew.
CAPTURES = sorted(
    path
    for path in (Path(__file__).parents[2] / "compat" / "captures").glob("*.http")
    if not path.stem.startswith("not_fetched_")
)


def upper_sizes(body: bytes) -> bytes:
    """A chunked body with the sizes' digits as our server writes them."""
    written = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        end = int(size, 16) + 2
        written += size.upper() + b"\r\n" + rest[:end]
        body = rest[end:]
    return written


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_g_bytes_2_recorded_answers(worker: RawWorker, client: RawClient, capture: Path) -> None:
    """The head grows by the request's id; framing that the server writes itself moves to its end."""
    raw = capture.read_bytes()
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    streamed = b"%b: %b" % CHUNKED in lines
    if not streamed and not any(line.startswith(b"content-length: ") for line in lines):
        # The recording lost it.
        lines.insert(3, b"content-length: %d" % len(body))
        raw = b"\r\n".join(lines) + b"\r\n\r\n" + body
    worker.script = saying(raw)

    client.send(request(fields=[(b"x-request-id", b"my-id-1"), (b"connection", b"close")]))
    received = client.read_rest()

    moved = [line for line in lines if line in (b"%b: %b" % CHUNKED, b"content-length: 0")]
    kept = [line for line in lines if line not in (*moved, b"x-request-id: my-id-1")]
    expected = [*kept, b"x-request-id: my-id-1", b"connection: close", *moved]
    assert received.partition(b"\r\n\r\n")[0].split(b"\r\n") == expected
    assert received.partition(b"\r\n\r\n")[2] == (upper_sizes(body) if streamed else body)


def test_there_are_recordings() -> None:
    assert len(CAPTURES) >= 19
