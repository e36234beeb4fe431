"""The prompt that a request's body holds, as canonical bytes, and the hashes of its leading blocks.

Two bodies whose prompts begin alike have canonical texts that begin alike, however their JSON is written. An engine
sees templates and tokens instead, but what is equal here is equal there, and that is all that a cache asks for. What is
no text (images, audio) is in it by its digest.

Blocks end at fixed places, the same for every prompt, and grow with the distance from its beginning: 8 of 512 bytes,
8 of 1 KiB, and so on. So the hashes of a long prompt are few (25 for 32 KiB), and what is not covered by whole blocks
is an eighth of it, as a rule. A hash covers everything before its end too, and the model's name; its low 7 bits are
the block's number, so that whoever has the hash knows how long the beginning is.

It is made from the blocks' CRC-32s, half as dear as SHA-256. Two prompts that differ in one block alone are
taken for equal once in 2**32 pairs, those that differ in several hardly ever. Somebody can make such prompts on
purpose, and gains nothing by it: with equal ones it would be the same.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from hashlib import sha256
from typing import Any
from zlib import crc32

import msgspec

from shared.decoding import DECODE_ERRORS

BYTES_PER_TOKEN = 4
"""Of English text and source code, about, by common tokenizers."""
_LARGEST_OPENING = 65_536
_PLAIN_OPENING = 4096
_MOST_HASHED = 2048


def _ends() -> tuple[int, ...]:
    ends, end = [], 0
    for doubling in range(10):
        for _ in range(8):
            end += 512 << doubling
            ends.append(end)
    return tuple(ends)


ENDS = _ends()
"""Where blocks end, in bytes from the prompt's beginning; what is beyond the last one (4 MB) does not count."""
_BLOCKS = tuple(slice(start, end) for start, end in zip((0, *ENDS), ENDS, strict=False))
_NUMBER = 127
_64_BITS = (1 << 64) - 1
_MIXER = 0x9E3779B97F4A7C15
"""An odd number with its bits spread out: 2**64 by the golden ratio (Knuth, volume 3, 6.4)."""


class _Message(msgspec.Struct, gc=False):
    role: str | None = None
    content: str | list[msgspec.Raw] | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()


class _Part(msgspec.Struct):
    text: str | None = None


class PromptFields(msgspec.Struct):
    """What of a body makes its prompt."""

    messages: list[_Message] | None = None
    system: str | list[msgspec.Raw] | None = None
    tools: msgspec.Raw = msgspec.Raw()
    prompt: Any = None
    input: Any = None
    instructions: str | None = None


_decode = msgspec.json.Decoder(PromptFields).decode
_decode_part = msgspec.json.Decoder(_Part).decode


class Prompt(msgspec.Struct, frozen=True):
    """A prompt's canonical `text`; its first `opening` bytes are those by which a conversation is told from others.

    They end with the first message of the user: every turn of a conversation begins with them. Of a prompt that is
    no conversation they are the first 4 KiB.
    """

    text: bytes
    opening: int

    @property
    def tokens(self) -> int:
        """About how many tokens it has."""
        return len(self.text) // BYTES_PER_TOKEN + 1

    def block_hashes(self, model: str | None) -> list[int]:
        """Return the hashes of the whole blocks that it begins with."""
        view = memoryview(self.text)
        running = hash64((model or "").encode())
        hashes = []
        for number, block in enumerate(_BLOCKS[: bisect_right(ENDS, len(view))]):
            running = (running ^ crc32(view[block])) * _MIXER & _64_BITS
            hashes.append(running & ~_NUMBER | number)
        return hashes

    def opening_hash(self, model: str | None, blocks: list[int]) -> int:
        """Return a hash of the opening and the model: 64 bits, the same on every plane. `blocks` are its hashes."""
        whole = bisect_right(ENDS, self.opening)
        start = ENDS[whole - 1] if whole else 0
        before = b"%x" % blocks[whole - 1] if whole else (model or "").encode()
        return hash64(b"%b\0%b" % (before, self.text[start : self.opening]))


def length_of(block_hash: int) -> int:
    """Return how many bytes of a prompt a block's hash covers."""
    return ENDS[min(block_hash & _NUMBER, len(ENDS) - 1)]


def size_of(block_hash: int) -> int:
    """Return how many bytes the block itself has."""
    return 512 << ((block_hash & _NUMBER) >> 3)


def hash64(data: bytes) -> int:
    """Return 64 bits that are the same in every process, unlike `hash`."""
    return int.from_bytes(sha256(data).digest()[:8], "little")


def read_prompt(body: bytes | bytearray) -> Prompt | None:
    """Return the prompt of a body: chat, messages, completions, responses or embeddings; None when it has none."""
    try:
        found = _decode(body)
    except DECODE_ERRORS:
        return None
    return _canonical(found, whole=True)


def opening_key(found: PromptFields, model: str | None) -> int | None:
    """Return a hash of the prompt's opening and the model, 64 bits, the same on every plane; None without a prompt.

    Of an opening of more than 2 KiB its length and 1 KiB at both ends count: no more is hashed, however long it is.
    """
    prompt = _canonical(found, whole=False)
    if prompt is None:
        return None
    text, length = prompt.text, prompt.opening
    if length > _MOST_HASHED:
        half = _MOST_HASHED // 2
        text, length = b"%b%d\0%b" % (text[:half], length, text[length - half : length]), -1
    return hash64(b"%b\0%b" % ((model or "").encode(), text[:length] if length >= 0 else text))


def _canonical(found: PromptFields, *, whole: bool) -> Prompt | None:
    """Return the prompt; without `whole` its text may end with the opening."""
    parts: list[bytes] = []
    if found.tools:
        parts += (b"\x01", bytes(found.tools))
    for standing in (found.system, found.instructions):
        if standing:
            parts += (b"\x02", _content(standing))
    if found.messages is not None:
        return _of_messages(parts, map(_message, found.messages), whole=whole)
    plain = found.prompt if found.prompt is not None else found.input
    if isinstance(plain, list) and plain and isinstance(plain[0], dict):
        return _of_messages(parts, map(_item, plain), whole=whole)
    text = _plain(plain)
    if not text:
        return None
    start = sum(map(len, parts))
    return Prompt(b"".join((*parts, text)), start + min(len(text), _PLAIN_OPENING))


def _of_messages(parts: list[bytes], messages: Iterable[tuple[str, bytes]], *, whole: bool) -> Prompt | None:
    opening, before = 0, len(parts)
    for role, content in messages:
        parts += (b"\x03", role.encode(), b"\x04", content)
        if not opening and role == "user":
            opening = sum(map(len, parts))
            if not whole:
                break
    if len(parts) == before:
        return None
    text = b"".join(parts)
    return Prompt(text, min(opening or len(text), _LARGEST_OPENING))


def _message(message: _Message) -> tuple[str, bytes]:
    content = _content(message.content)
    if message.tool_calls:
        content = b"%b\x05%b" % (content, message.tool_calls)
    return message.role or "", content


def _content(content: str | list[msgspec.Raw] | None) -> bytes:
    if isinstance(content, str):
        return content.encode()
    return b"".join(map(_part, content or ()))


def _part(part: msgspec.Raw) -> bytes:
    try:
        text = _decode_part(part).text
    except DECODE_ERRORS:
        text = None
    return text.encode() if text is not None else sha256(part).digest()


def _item(item: Any) -> tuple[str, bytes]:
    """Return an item of a Responses request: a message, or anything else by its digest."""
    if isinstance(item, dict) and isinstance(role := item.get("role"), str):
        content = item.get("content")
        if isinstance(content, str):
            return role, content.encode()
        if isinstance(content, list):
            return role, b"".join(_part(msgspec.Raw(msgspec.json.encode(part))) for part in content)
    return "", sha256(msgspec.json.encode(item)).digest()


def _plain(prompt: Any) -> bytes:
    """Return a prompt of text or token ids as bytes; of several prompts the first."""
    if isinstance(prompt, str):
        return prompt.encode()
    if not isinstance(prompt, list) or not prompt:
        return b""
    if isinstance(prompt[0], int):
        try:
            return array("I", prompt).tobytes()
        except (TypeError, OverflowError):
            return b""

    first = prompt[0]
    # One list in another and no deeper: so it is for token ids of several prompts.
    return b"" if isinstance(first, list) and first and isinstance(first[0], list) else _plain(first)
