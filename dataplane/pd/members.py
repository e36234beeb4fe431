"""Putting members into a JSON object, and taking some out, at a fraction of what `splice.with_members` costs.

The names are known beforehand, so a compiled reader tells which of them are there and with what values, and skips the
rest. Where such a name stands is then looked up in the text: it can only be where it stands, if it does once and can
not be spelt otherwise. What is not so plain (a name that stands twice, also within a text; escaped letters; several
members to be taken out, with the last one) is done the long way, and the result is the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET

from dataplane.splice import with_members
from shared.decoding import DECODE_ERRORS

_Found = tuple[msgspec.Raw | msgspec.UnsetType, ...]
_Edit = tuple[int, int, bytes]

_has_escaped_letter = re.compile(rb"\\u00[2-7]").search
"""JSON can spell the letters of a name only so."""
_is_plain = re.compile(r"[A-Za-z0-9_]+").fullmatch
_colon = re.compile(rb"[ \t\n\r]*:[ \t\n\r]*").match
_comma = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*").match
_comma_before = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*\Z").search
_empty = re.compile(rb"\{[ \t\n\r]*\}").match
_LOOK_BACK = 64
"""Bytes before the last member in which the comma must be."""


class Members:
    """The names of members that are `put` in and left out, and what is put in `where_present`.

    The values that are put in come with each object. No name may stand in two of the three.
    """

    def __init__(
        self, put: tuple[str, ...], where_present: Mapping[str, str] = {}, without: tuple[str, ...] = ()
    ) -> None:
        self._put = len(put)
        self._where_present = where_present
        self._without = without
        self._given = [value.encode() for value in where_present.values()]
        names = (*put, *where_present, *without)
        self._are_plain = all(map(_is_plain, names))
        self._names = tuple(f'"{name}"'.encode() for name in names)
        fields = [(f"_{number}", msgspec.Raw | msgspec.UnsetType, UNSET) for number in range(len(names))]
        rename = {f"_{number}": name for number, name in enumerate(names)}
        self._read = msgspec.json.Decoder(msgspec.defstruct("_Found", fields, rename=rename)).decode

    def edited(self, body: bytes | bytearray, values: Mapping[str, str]) -> bytes:
        """Return the object with `values` (JSON texts) for the names that are put in, in their order.

        Raises as `with_members`.
        """
        edited = self._edited(body, [value.encode() for value in values.values()] + self._given)
        if edited is None:
            return with_members(body, values, where_present=self._where_present, without=self._without)
        return edited

    def _edited(self, body: bytes | bytearray, values: Sequence[bytes]) -> bytes | None:
        if not self._are_plain or body[:1] != b"{" or (b"\\u00" in body and _has_escaped_letter(body)):
            return None
        try:
            found: _Found = msgspec.structs.astuple(self._read(body))
        except DECODE_ERRORS:
            return None
        added: list[bytes] = []
        edits: list[_Edit] = []
        for number, there in enumerate(found):
            if there is not UNSET:
                edit = self._edit(body, number, len(bytes(there)), values)
                if edit is None:
                    return None
                edits.append(edit)
            elif number < self._put:
                added.append(b"%b:%b" % (self._names[number], values[number]))
        if not edits and _empty(body):
            return None
        edits.sort()
        kept: list[bytes | bytearray] = [b"{"]
        if added:
            kept += (b",".join(added), b",")
        position = 1
        for start, end, value in edits:
            if start < position:
                # Several go, and the last one is among them.
                return None
            kept += (body[position:start], value)
            position = end
        kept.append(body[position:])
        return b"".join(kept)

    def _edit(self, body: bytes | bytearray, number: int, size: int, values: Sequence[bytes]) -> _Edit | None:
        """Return from where to where what stands instead of a member that is there; None if that is not so plain."""
        name = self._names[number]
        start = body.find(name)
        after = start + len(name)
        if body.find(name, after) >= 0 or (colon := _colon(body, after)) is None:
            return None
        value = colon.end()
        if number < len(values):
            return value, value + size, values[number]
        if (comma := _comma(body, value + size)) is not None:
            return start, comma.end(), b""
        before = max(1, start - _LOOK_BACK)
        last = _comma_before(body[before:start])
        return None if last is None else (before + last.start(), value + size, b"")
