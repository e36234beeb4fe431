import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.top.keys import keys_in


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[Bj", ["up", "down", "j"]),
        (b"\x1bOA", ["up"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F", ["page up", "page down", "home", "end"]),
        (b"\r\x7f\x03", ["enter", "backspace", "ctrl-c"]),
        ("é".encode(), ["é"]),
        (b"\x1b[1;5A", ["unknown"]),
        (b"\x1bq", ["escape", "q"]),
        (b"\x1b", ["escape"]),
        (b"\xff", ["\N{REPLACEMENT CHARACTER}"]),
        (b"\x00", ["unknown"]),
    ],
)
def test_keys(data: bytes, keys: list[str]) -> None:
    assert keys_in(data, is_all=True) == (keys, b"")


@given(st.lists(st.sampled_from([b"q", b"\x1b[A", b"\x1b[5~", b"\x1bOB", "é".encode(), b"\r"])), st.data())
def test_a_key_that_comes_in_parts_is_one_key(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cut = data.draw(st.integers(0, len(whole)))
    first, rest = keys_in(whole[:cut], is_all=False)
    second, left = keys_in(rest + whole[cut:], is_all=True)
    assert first + second == keys_in(whole, is_all=True)[0]
    assert left == b""


@given(st.binary(max_size=40), st.booleans())
def test_no_bytes_stop_it(data: bytes, is_all: bool) -> None:
    _, rest = keys_in(data, is_all=is_all)
    assert data.endswith(rest)
    assert len(rest) < 16
    assert not (is_all and rest)
