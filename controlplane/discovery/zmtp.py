"""One connection of a worker that registers, as ZMTP 3 has it (RFC 37): bytes go in, messages come out. Pure.

We are the ROUTER with the mechanism NULL; the other side is a DEALER, as vLLM's is, a REQ or a ROUTER. libzmq is not
used here because it takes any number of frames for one message, and holds them all until the last has come: 97 MB from
one connection made it take 202 MB. A registration is one frame, so everything else is refused as soon as it is seen.
"""

from __future__ import annotations

from typing import Final

from controlplane.discovery.refusals import RefusedError, shown

MAX_FRAME = 16 * 1024
"""Bytes of a message; those of `shared.registration` are the largest."""

_MORE, _LONG, _COMMAND = 1, 2, 4
_GREETING_SIZE = 64
_SIGNATURE_SIZE = 10
_PEERS = (b"DEALER", b"REQ", b"ROUTER")
_MAX_READY = 1024
_MAX_COMMANDS = 16
"""In a row, within what is read at a time: a peer's heartbeats come seconds apart."""


def _frame(body: bytes, flags: int) -> bytes:
    if len(body) < 256:
        return bytes((flags, len(body))) + body
    return bytes((flags | _LONG,)) + len(body).to_bytes(8, "big") + body


GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY: Final = _frame(b"\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER\x08Identity\x00\x00\x00\x00", _COMMAND)
_PING, _PONG = b"\x04PING", b"\x04PONG"


class ZmtpConnection:
    """Reads what one peer sends. Send it `GREETING` at once, and what `outgoing` gathers whenever there is some."""

    def __init__(self) -> None:
        self.outgoing = bytearray()
        self.is_ready = False
        """Whether the handshake is over."""
        self._data = bytearray()
        self._is_greeted = False
        self._is_delimited = False
        self._is_begun = False

    def __len__(self) -> int:
        """Return how many bytes wait to be read."""
        return len(self._data)

    def add(self, data: memoryview | bytes) -> None:
        """Take bytes in; `message` reads them."""
        self._data += data

    def message(self) -> bytes | None:
        """Return the next message, None when it has not come as a whole. Raises RefusedError: then close."""
        commands = 0
        while (found := self._next_frame()) is not None:
            flags, body = found
            if flags & _COMMAND:
                commands += 1
                if commands > _MAX_COMMANDS:
                    raise RefusedError("excess", "it sends nothing but commands")
                self._obey(body)
            elif not self.is_ready:
                raise RefusedError("protocol", "it sends a message before it has said READY")
            elif flags & _MORE:
                # What a REQ puts before each message.
                if body or self._is_begun:
                    raise RefusedError("protocol", "its message has several frames; a registration is one")
                self._is_begun = True
            else:
                self._is_delimited, self._is_begun = self._is_begun, False
                return body
        return None

    def answer(self, message: bytes) -> None:
        """Send a message to whoever sent the last one."""
        if self._is_delimited:
            self.outgoing += _frame(b"", _MORE)
        self.outgoing += _frame(message, 0)

    def _next_frame(self) -> tuple[int, bytes] | None:
        if not self._is_greeted and not self._greet():
            return None
        data = self._data
        if len(data) < 2:
            return None
        flags = data[0]
        if flags & ~(_MORE | _LONG | _COMMAND) or (flags & _COMMAND and flags & _MORE):
            raise RefusedError("protocol", "it does not speak ZMTP 3: no frame begins like that")
        if flags & _LONG:
            if len(data) < 9:
                return None
            begin, size = 9, int.from_bytes(data[1:9], "big")
        else:
            begin, size = 2, data[1]
        if size > MAX_FRAME:
            raise RefusedError("oversized", f"it announces a frame of {size} bytes; at most {MAX_FRAME} are read")
        if len(data) < begin + size:
            return None
        body = bytes(data[begin : begin + size])
        del data[: begin + size]
        return flags, body

    def _greet(self) -> bool:
        data = self._data
        if not b"\xff".startswith(data[:1]) or (len(data) >= _SIGNATURE_SIZE and not data[9] & 1):
            raise RefusedError("protocol", f"it does not speak ZMTP: it begins with {shown(repr(bytes(data[:10])))}")
        if len(data) > _SIGNATURE_SIZE and data[10] < 3:
            raise RefusedError("protocol", "it speaks a ZMTP older than 3 (libzmq before 4.0)")
        if len(data) < _GREETING_SIZE:
            return False
        mechanism = bytes(data[12:32]).rstrip(b"\0")
        if mechanism != b"NULL":
            asked = mechanism.decode("ascii", "replace")
            raise RefusedError("protocol", f"it asks for the mechanism {shown(asked)}; here it is NULL")
        del data[:_GREETING_SIZE]
        self._is_greeted = True
        return True

    def _obey(self, body: bytes) -> None:
        if not self.is_ready:
            self._get_ready(body)
        elif body.startswith(_PING) and len(body) <= 7 + 16:
            # Its time to live is for us to go by, and its context to send back.
            self.outgoing += _frame(_PONG + body[7:], _COMMAND)

    def _get_ready(self, body: bytes) -> None:
        if not body.startswith(b"\x05READY") or len(body) > _MAX_READY:
            raise RefusedError("protocol", "its first command is not READY")
        kind = _properties(body[6:]).get(b"socket-type")
        if kind not in _PEERS:
            raise RefusedError("protocol", f"its socket is a {shown(repr(kind))}; a worker's is a DEALER")
        self.outgoing += READY
        self.is_ready = True


def _properties(data: bytes) -> dict[bytes, bytes]:
    """Read a READY command's metadata; names are in lower case."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]]
        at += 1 + len(name)
        size = int.from_bytes(data[at : at + 4], "big")
        value = data[at + 4 : at + 4 + size]
        at += 4 + size
        if at > len(data):
            raise RefusedError("protocol", "its READY command breaks off")
        found[name.lower()] = value
    return found
