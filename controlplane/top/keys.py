"""Keys out of the bytes that a terminal sends, as names: letters as they are, others in words."""

from __future__ import annotations

_SEQUENCES = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1b[F": "end",
    b"\x1bOH": "home",
    b"\x1bOF": "end",
    b"\x1b[1~": "home",
    b"\x1b[4~": "end",
}
_CONTROLS = {b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace", b"\x03": "ctrl-c"}
_LONGEST = 16


def keys_in(data: bytes, *, is_all: bool) -> tuple[list[str], bytes]:
    """Return the keys, and the bytes at the end that may be the beginning of one.

    With `is_all` no more bytes are on their way: an escape that stands alone is the key of that name.
    """
    keys: list[str] = []
    while data:
        if data[:1] == b"\x1b":
            size = _size_of_sequence(data)
            if size is None:
                if not is_all and len(data) < _LONGEST:
                    return keys, data
                size = 1
            keys.append("escape" if size == 1 else _SEQUENCES.get(data[:size], "unknown"))
        else:
            size = _size_of_letter(data[0])
            if len(data) < size and not is_all:
                return keys, data
            letter = data[:size]
            keys.append(_CONTROLS.get(letter) or _letter(letter))
        data = data[size:]
    return keys, b""


def _size_of_sequence(data: bytes) -> int | None:
    """Return how long the sequence at the beginning is; None while its end has not come."""
    if len(data) < 2:
        return None
    if data[1:2] == b"O":
        return 3 if len(data) >= 3 else None
    if data[1:2] != b"[":
        return 1
    return next((place + 3 for place, byte in enumerate(data[2:_LONGEST]) if 0x40 <= byte <= 0x7E), None)


def _size_of_letter(first: int) -> int:
    return 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _letter(data: bytes) -> str:
    text = data.decode(errors="replace")
    return text if text.isprintable() else "unknown"
