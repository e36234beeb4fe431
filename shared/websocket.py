"""WebSocket frames and handshakes (RFC 6455), without a socket: bytes in, messages out, and the other way."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha1
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
_KNOWN = frozenset({_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_CONTROL = 0x8
_MOST_CONTROL = 125
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

NORMAL, GOING_AWAY, PROTOCOL_ERROR, NO_STATUS = 1000, 1001, 1002, 1005
NOT_UTF8, POLICY, TOO_BIG, INTERNAL_ERROR = 1007, 1008, 1009, 1011


class FrameError(Exception):
    """What came is no frame that may come here; `code` is what to close with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Message(NamedTuple):
    """A whole message, or a control frame: its opcode and payload."""

    opcode: int
    payload: bytes


def new_key() -> bytes:
    """Return a `Sec-WebSocket-Key`."""
    return b64encode(os.urandom(16))


def accept_of(key: bytes) -> bytes:
    """Return the `Sec-WebSocket-Accept` that answers a key."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def encode(opcode: int, payload: bytes, *, mask: bytes | None = None) -> bytes:
    """Return one frame with all of a message; `mask` has 4 bytes, which a client's frames need."""
    size = len(payload)
    bit = 0x80 if mask is not None else 0
    if size <= _MOST_CONTROL:
        head = bytes((0x80 | opcode, bit | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, bit | 127)) + size.to_bytes(8, "big")
    return head + payload if mask is None else head + mask + masked(payload, mask)


def masked(data: bytes, mask: bytes) -> bytes:
    """Return the data with the mask put on, or taken off."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def close_payload(code: int, reason: str = "") -> bytes:
    """Return what a close frame says; nothing for `NO_STATUS`."""
    if code == NO_STATUS:
        return b""
    return code.to_bytes(2, "big") + reason.encode()[: _MOST_CONTROL - 2].decode("utf-8", "ignore").encode()


def close_of(payload: bytes) -> tuple[int, str]:
    """Return code and reason of a close frame. Raises FrameError."""
    if not payload:
        return NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (1000 <= code < 5000) or code in (1004, NO_STATUS, 1006, 1015):
        raise FrameError(PROTOCOL_ERROR, "a close frame without a valid code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(NOT_UTF8, "a close frame's reason is not UTF-8") from None


class Reader:
    """Puts messages together from bytes as they come; holds one message of `most` bytes, and one frame's beginning."""

    def __init__(self, *, masked: bool, most: int) -> None:
        """`masked`: the other side is a client, whose frames must have masks; a server's must not."""
        self._masked = masked
        self._most = most
        self._held = bytearray()
        self._message = bytearray()
        self._opcode = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Message]:
        """Yield what became complete. Raises FrameError; then nothing more can be read."""
        self._held += data
        while (message := self._frame()) is not None:
            if message.opcode:
                yield message

    def _frame(self) -> Message | None:
        """Take a frame off; a message of opcode 0 was a part of one."""
        held = self._held
        if len(held) < 2:
            return None
        opcode, is_last, size, start = held[0] & 0x0F, bool(held[0] & 0x80), held[1] & 0x7F, 2
        self._check(held[0], held[1], opcode, is_last=is_last)
        if size > _MOST_CONTROL:
            start += 2 if size == 126 else 8
            if len(held) < start:
                return None
            size = int.from_bytes(held[2:start], "big")
        if opcode < _CONTROL and len(self._message) + size > self._most:
            raise FrameError(TOO_BIG, f"a message of more than {self._most} bytes")
        if self._masked:
            start += 4
        if len(held) < start + size:
            return None
        payload = bytes(held[start : start + size])
        if self._masked:
            payload = masked(payload, bytes(held[start - 4 : start]))
        del held[: start + size]
        return self._put_together(opcode, payload, is_last=is_last)

    def _check(self, first: int, second: int, opcode: int, *, is_last: bool) -> None:
        if first & 0x70:
            raise FrameError(PROTOCOL_ERROR, "a frame with bits of an extension that nobody agreed on")
        if opcode not in _KNOWN:
            raise FrameError(PROTOCOL_ERROR, "a frame of an unknown kind")
        if bool(second & 0x80) != self._masked:
            raise FrameError(PROTOCOL_ERROR, "a frame without a mask" if self._masked else "a frame with a mask")
        if opcode >= _CONTROL and (not is_last or second & 0x7F > _MOST_CONTROL):
            raise FrameError(PROTOCOL_ERROR, "a control frame in parts, or longer than 125 bytes")
        if (opcode == _CONTINUATION) != bool(self._opcode) and opcode < _CONTROL:
            raise FrameError(PROTOCOL_ERROR, "a part of a message out of its order")

    def _put_together(self, opcode: int, payload: bytes, *, is_last: bool) -> Message:
        if opcode >= _CONTROL:
            return Message(opcode, payload)
        if is_last and not self._opcode:
            return Message(opcode, payload)
        self._opcode = self._opcode or opcode
        self._message += payload
        if not is_last:
            return Message(_CONTINUATION, b"")
        whole = Message(self._opcode, bytes(self._message))
        self._opcode = 0
        self._message.clear()
        return whole
