"""A stream's lines, however they are cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.pd.lines import Lines

MARK = b'"usage"'


def shout(text: bytes) -> bytes:
    return text.replace(b"quiet", b"LOUD")


def lines(most: int = 1000) -> Lines:
    return Lines(lambda text: shout(text) if b"quiet" in text else text, MARK, most)


EVENTS = (
    b'data: {"usage": "quiet"}\n\n',
    b'data:{"usage":"quiet, {too}"}\r\n\r\n',
    b'event: quiet "usage"\ndata: {"usage":"quiet"}\n\n',
    b'data: {"text":"quiet"}\n\n',
    b': quiet {"usage"}\n\n',
    b"data: [DONE]\n\n",
    b'data: {"usage":1}\n\n',
    b"\n",
)


def changed(stream: bytes) -> bytes:
    """Return what is to come out: line by line."""
    return b"".join(
        shout(line) if line.startswith(b"data:") and MARK in line else line for line in stream.splitlines(keepends=True)
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(EVENTS)).map(b"".join), st.lists(st.integers(0, 400)), st.binary(max_size=3))
def test_each_cut_gives_the_same(stream: bytes, cuts: list[int], broken_off: bytes) -> None:
    stream += broken_off.replace(b"\r", b"")
    found = lines()
    places = sorted({cut for cut in cuts if cut < len(stream)})
    parts = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
    out = [found.take(part) for part in parts]
    assert b"".join(out) + found.rest() == changed(stream)
    for part, passed in zip(parts, out, strict=True):
        # A whole line never waits.
        assert passed.endswith(b"\n") or not passed or b"\n" not in part


def test_parts_that_end_with_a_line_go_on_as_the_same_objects() -> None:
    found = lines()
    for part in (b'data: {"text":1}\n\n', b'data: {"usage":1}\n\n', b"data: [DONE]\n\n"):
        assert found.take(part) is part
    assert found.is_between


def test_a_line_is_kept_back_until_it_ends() -> None:
    found = lines()
    assert found.take(b'data: 1\n\ndata: {"usa') == b"data: 1\n\n"
    assert not found.is_between
    assert found.take(b'ge":"qui') == b""
    assert found.take(b'et"}\n\nda') == b'data: {"usage":"LOUD"}\n\n'
    assert found.rest() == b"da"
    assert found.is_between


def test_a_line_that_is_too_long_goes_on_as_it_is() -> None:
    found = lines(20)
    assert found.take(b'data: {"usage":') == b""
    assert found.take(b'"quiet",1') == b'data: {"usage":"quiet",1'
    assert found.take(b"}\n\n") == b"}\n\n"
    assert found.take(b'data: {"usage":"quiet"}\n\n') == b'data: {"usage":"LOUD"}\n\n'
