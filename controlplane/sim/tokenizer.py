"""A tokenizer without a vocabulary file that can be undone exactly.

Text is cut into pieces: up to three ASCII letters or digits with the space before them, or else one
character. Each piece has one number and each number one piece, so `decode(encode(text)) == text`, and text
with the same beginning has the same leading ids, as prefix caching needs. English comes out at about three
characters a token. Ids, in order: every Unicode character; every letter-digit piece; the special marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_CHARACTERS = 0x110000
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RADIX = len(_ALPHABET)
_DIGIT = {character: value for value, character in enumerate(_ALPHABET)}
_PIECES = re.compile(r" ?[A-Za-z0-9]{1,3}|[\s\S]")

# (space before it, letters) -> first id of the pieces of that shape
_SHAPES: dict[tuple[bool, int], int] = {}
_next = _CHARACTERS
for _letters in (1, 2, 3):
    for _space in (False, True):
        _SHAPES[_space, _letters] = _next
        _next += _RADIX**_letters

IM_START = _next
IM_END = _next + 1
IMAGE = _next + 2
_SPECIAL = {IM_START: "<|im_start|>", IM_END: "<|im_end|>", IMAGE: "<|image|>"}
VOCABULARY = _next + 3
"""Number of ids; a valid id is 0 <= id < VOCABULARY."""


class _Ids(dict[str, int]):
    """Ids seen so far; bounded by the number of pieces there are."""

    def __missing__(self, piece: str) -> int:
        self[piece] = number = _id_of(piece)
        return number


def _id_of(piece: str) -> int:
    if len(piece) == 1:
        return ord(piece)
    letters = piece.removeprefix(" ")
    value = 0
    for character in letters:
        value = value * _RADIX + _DIGIT[character]
    return _SHAPES[len(letters) < len(piece), len(letters)] + value


_ids = _Ids()


def encode(text: str) -> list[int]:
    """Return the ids of a text, without special marks."""
    return [_ids[piece] for piece in _PIECES.findall(text)]


def piece(token: int) -> str:
    """Return the text of one id; ValueError when there is no such id."""
    if not 0 <= token < VOCABULARY:
        raise ValueError(f"Token id {token} is out of vocabulary")
    if token < _CHARACTERS:
        return "\ufffd" if 0xD800 <= token < 0xE000 else chr(token)
    if token in _SPECIAL:
        return _SPECIAL[token]
    (space, letters), first = max((shape for shape in _SHAPES.items() if shape[1] <= token), key=lambda shape: shape[1])
    value, text = token - first, ""
    for _ in range(letters):
        value, digit = divmod(value, _RADIX)
        text = _ALPHABET[digit] + text
    return " " + text if space else text


def decode(tokens: Iterable[int]) -> str:
    """Return the text of ids; ValueError when one is out of the vocabulary."""
    return "".join(map(piece, tokens))


def chat(messages: Iterable[tuple[str, str]]) -> list[int]:
    """Return the prompt ids of (role, text) messages, ending where the assistant's answer begins."""
    ids: list[int] = []
    for role, text in messages:
        ids += _opening(role)
        ids += encode(text)
        ids += _CLOSING
    ids += _opening("assistant")
    return ids


_CLOSING = (IM_END, 10)


@lru_cache(maxsize=256)
def _opening(role: str) -> tuple[int, ...]:
    return (IM_START, *encode(role), 10)
