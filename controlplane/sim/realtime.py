"""WebSockets: `/v1/realtime` as vLLM 0.32 speaks it, and `/sim/echo`, which says what it hears."""

from __future__ import annotations

import random
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import msgspec

from shared import websocket

from . import text, tokenizer
from .errors import PlainError
from .exchange import Exchange, Pull

if TYPE_CHECKING:
    from .worker import Worker

_MOST = 16 * 1024 * 1024
_encode = msgspec.json.encode


def realtime(worker: Worker, exchange: Exchange) -> None:
    """Answer a handshake at `/v1/realtime`."""
    _open(exchange, Realtime(worker, exchange))


def echo(worker: Worker, exchange: Exchange) -> None:
    """Answer a handshake at `/sim/echo`."""
    _open(exchange, Tunnel(worker, exchange))


def asks(exchange: Exchange) -> bool:
    """Whether a request is a handshake."""
    return (exchange.request.header(b"upgrade") or b"").lower() == b"websocket"


def _open(exchange: Exchange, tunnel: Tunnel) -> None:
    key = exchange.request.header(b"sec-websocket-key")
    if not asks(exchange) or key is None:
        raise PlainError(404, "Not Found")
    exchange.switch(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n" % websocket.accept_of(key), tunnel
    )
    tunnel.opened()


class Tunnel:
    """One connection after its handshake: says what it hears."""

    def __init__(self, worker: Worker, exchange: Exchange) -> None:
        self._worker = worker
        self._exchange = exchange
        self._reader = websocket.Reader(masked=True, most=_MOST)
        self._closed = False

    def opened(self) -> None:
        """Say nothing first."""

    def feed(self, data: bytes) -> None:
        """Take what came."""
        try:
            for message in self._reader.feed(data):
                if message.opcode == websocket.CLOSE:
                    self._close(message.payload)
                elif message.opcode == websocket.PING:
                    self._send(websocket.PONG, message.payload)
                elif message.opcode != websocket.PONG:
                    self.heard(message)
        except websocket.FrameError as error:
            self._close(websocket.close_payload(error.code, str(error)))

    def heard(self, message: websocket.Message) -> None:
        """Take a message."""
        self._send(message.opcode, message.payload)

    def pull(self) -> bytes | Pull:
        """Return nothing: messages are written as they come to be."""
        return Pull.WAIT

    def cancel(self) -> None:
        """The client is gone."""
        self._closed = True

    def _send(self, opcode: int, payload: bytes) -> None:
        if not self._closed:
            self._exchange.connection.write(websocket.encode(opcode, payload))

    def _close(self, payload: bytes) -> None:
        if not self._closed:
            self._send(websocket.CLOSE, payload)
            self._closed = True
            self._exchange.hang_up()


class Realtime(Tunnel):
    """Transcribes: a word for each piece of audio, and all of them at the end."""

    def __init__(self, worker: Worker, exchange: Exchange) -> None:
        super().__init__(worker, exchange)
        self._has_model = False
        self._generates = False
        self._words: list[str] = []

    def opened(self) -> None:
        """Say that there is a session."""
        created = int(self._worker.wall())
        self._tell({"type": "session.created", "id": f"sess-{random.getrandbits(64):016x}", "created": created})

    def heard(self, message: websocket.Message) -> None:
        """Take an event."""
        try:
            event = msgspec.json.decode(message.payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._fail("Invalid JSON", "invalid_json")
            return
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "session.update":
            self._update(event)
        elif kind == "input_audio_buffer.append":
            self._append(event)
        elif kind == "input_audio_buffer.commit":
            self._commit(event)
        else:
            self._fail(f"Unknown event type: {kind}", "unknown_event")

    def _update(self, event: dict[str, Any]) -> None:
        model = event.get("model")
        if model is None:
            self._fail("Missing required field: model", "invalid_event")
        elif model not in self._worker.config.models:
            self._fail(f"The model `{model}` does not exist.", "model_not_found")
        else:
            self._has_model = True

    def _append(self, event: dict[str, Any]) -> None:
        try:
            audio = b64decode(event["audio"], validate=True)
        except (KeyError, TypeError, ValueError):
            self._fail("Invalid audio data", "invalid_audio")
            return
        seed = text.seed_of(tokenizer.encode(audio.hex()))
        self._words.append(text.words(seed, 0, 1))
        if self._generates:
            self._tell({"type": "transcription.delta", "delta": self._words[-1]})

    def _commit(self, event: dict[str, Any]) -> None:
        if not self._has_model:
            self._fail(
                "Model not validated. Make sure to validate the model by sending a session.update event.",
                "model_not_validated",
            )
        elif not event.get("final"):
            self._generates = True
            for word in self._words:
                self._tell({"type": "transcription.delta", "delta": word})
        elif self._generates:
            count = len(self._words)
            usage = {"prompt_tokens": count, "total_tokens": 2 * count, "completion_tokens": count}
            self._tell({"type": "transcription.done", "text": "".join(self._words), "usage": usage})
            self._generates = False
            self._words = []

    def _tell(self, event: dict[str, Any]) -> None:
        self._send(websocket.TEXT, _encode(event))

    def _fail(self, error: str, code: str) -> None:
        self._tell({"type": "error", "error": error, "code": code})
