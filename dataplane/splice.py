"""Taking members out of a JSON body, or putting some in, and leaving every other byte alone.

The scanner is the standard library's, which is what vLLM's server reads bodies with: what it takes for a
member, we do. Only bodies that need a splice come here; they pay for it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

Names = Mapping[str, "Names | None"]
"""Members to take out: None takes the member out, a mapping looks into its value, which must be an object."""

_BOMS = (
    # The longer ones first: UTF-32's begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_skip_space = re.compile(r"[ \t\n\r]*").match
_read_value = json.JSONDecoder().raw_decode
_read_string = json.decoder.scanstring  # type: ignore[attr-defined]


class _Member(NamedTuple):
    key: str
    start: int
    value: int
    end: int


def without_members(body: bytes | bytearray, names: Names) -> bytes:
    """Return the body, a JSON object, without the named members, however often each stands there.

    Raises ValueError (RecursionError for deep nesting) when the body is no such JSON.
    """
    bom, encoding = next(((bom, name) for bom, name in _BOMS if body.startswith(bom)), (b"", ""))
    encoding = encoding or json.detect_encoding(body)
    text = body[len(bom) :].decode(encoding, "surrogatepass")
    kept = []
    position = 0
    for start, end in _cuts(text, _after_space(text, 0), names):
        kept.append(text[position:start])
        position = end
    kept.append(text[position:])
    return bom + "".join(kept).encode(encoding, "surrogatepass")


def with_members(
    body: bytes | bytearray,
    values: Mapping[str, str],
    *,
    where_present: Mapping[str, str] = {},
    without: Collection[str] = (),
) -> bytes:
    """Return the body, a JSON object in UTF-8, with its members `values` (JSON texts), and `without` some others.

    A member that is there gets its value wherever it stands, others come first. Those `where_present` are only put in
    place of such. Raises as `without_members`.
    """
    text = body.decode("utf-8", "surrogatepass")
    start = _after_space(text, 0)
    members = [(member.key, member.value, member.end) for member in _members(text, start)]
    edits = [(cut[0], cut[1], "") for cut in _cuts(text, start, dict.fromkeys(without))]
    new = {**where_present, **values}
    edits += [(value, end, new[key]) for key, value, end in members if key in new]
    present = {key for key, _, _ in members}
    added = ",".join(f"{json.dumps(key)}:{value}" for key, value in values.items() if key not in present)
    kept = []
    position = start + 1
    for begin, end, text_there in sorted(edits):
        kept += [text[position:begin], text_there]
        position = end
    comma = "," if added and not present <= set(without) else ""
    return f"{text[: start + 1]}{added}{comma}{''.join(kept)}{text[position:]}".encode("utf-8", "surrogatepass")


def _cuts(text: str, start: int, names: Names) -> Iterator[tuple[int, int]]:
    members = list(_members(text, start))
    taken_out = [member.key in names and names[member.key] is None for member in members]
    last_kept = max((number for number, out in enumerate(taken_out) if not out), default=-1)
    for number, member in enumerate(members):
        inner = names.get(member.key)
        if taken_out[number] and number < last_kept:
            yield member.start, members[number + 1].start
        elif inner is not None and text[member.value] == "{":
            yield from _cuts(text, member.value, inner)
    if members and last_kept < len(members) - 1:
        yield members[last_kept].end if last_kept >= 0 else members[0].start, members[-1].end


def _members(text: str, start: int) -> Iterator[_Member]:
    if text[start : start + 1] != "{":
        raise ValueError("not a JSON object")
    position = _after_space(text, start + 1)
    while text[position : position + 1] != "}":
        if text[position : position + 1] != '"':
            raise ValueError(f"no member's name at character {position}")
        key: tuple[str, int] = _read_string(text, position + 1, False)
        colon = _after_space(text, key[1])
        if text[colon : colon + 1] != ":":
            raise ValueError(f"no colon at character {colon}")
        value = _after_space(text, colon + 1)
        read: tuple[Any, int] = _read_value(text, value)
        yield _Member(key[0], position, value, read[1])
        position = _after_space(text, read[1])
        if text[position : position + 1] == ",":
            position = _after_space(text, position + 1)
        elif text[position : position + 1] != "}":
            raise ValueError(f"no comma at character {position}")


def _after_space(text: str, start: int) -> int:
    found = _skip_space(text, start)
    return found.end() if found is not None else start
