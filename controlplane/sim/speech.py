"""`/v1/audio/transcriptions` and `/v1/audio/translations`: words that are a pure function of the upload."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from . import answers, generate, tokenizer
from .answers import Part
from .errors import ApiError, invalid
from .exchange import Exchange
from .requests import Generate

if TYPE_CHECKING:
    from .worker import Worker

_encode = msgspec.json.encode
_BYTES_PER_SECOND = 32_000
"""PCM16 at 16 kHz."""
_TOKENS = 16
_boundary = re.compile(rb'boundary="?([^";]+)"?', re.IGNORECASE).search
_name = re.compile(rb'name="([^"]*)"').search


def transcribe(worker: Worker, exchange: Exchange) -> None:
    """Answer either path."""
    request = exchange.request
    fields = form_of(request.body, request.header(b"content-type") or b"")
    if "file" not in fields:
        raise invalid("missing", "body.file", "Field required", {})
    audio = fields["file"]
    model = worker.model(fields.get("model", b"").decode() or None)
    asked = Generate(stream=fields.get("stream", b"").lower() in (b"true", b"1"), temperature=0)
    prompt = tokenizer.encode(sha256(audio).hexdigest())
    seconds = -(-len(audio) // _BYTES_PER_SECOND)

    def writer(identity: str, created: int, model: str, system_fingerprint: str) -> Writer:
        return Writer(seconds, identity, created, model, system_fingerprint)

    identity = generate.identity_of(exchange, "trsc-")
    generate.run(worker, exchange, asked, writer, model, [prompt], _TOKENS, identity)


def form_of(body: bytes, content_type: bytes) -> dict[str, bytes]:
    """Return a multipart form's values by their names; the last of several. Raises ApiError."""
    found = _boundary(content_type)
    if not content_type.lower().startswith(b"multipart/form-data") or found is None:
        raise invalid("missing", "body.file", "Field required", {})
    fields: dict[str, bytes] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + found[1])[1:-1]:
        head, separator, value = part.partition(b"\r\n\r\n")
        name = _name(head)
        if not separator or name is None:
            raise ApiError(400, "There was an error parsing the body", "Bad Request")
        fields[name[1].decode("latin-1")] = value
    return fields


class Writer(answers.Chat):
    """Writes one transcription."""

    def __init__(self, seconds: int, identity: str, created: int, model: str, system_fingerprint: str) -> None:
        super().__init__(identity, created, model, system_fingerprint)
        self._seconds = seconds

    def whole(
        self, parts: list[Part], prompt: int, completion: int, cached: int | None = None, handoff: bytes = b"null"
    ) -> bytes:
        """Return the body of an answer that is not streamed."""
        return _encode({"text": parts[0].text, "usage": {"type": "duration", "seconds": self._seconds}})

    def opening(self, index: int, prompt_token_ids: list[int] | None, running: bytes | None) -> bytes | None:
        """Return None: nothing comes before the first word."""
        return None

    def event(self, index: int, text: str, token_ids: list[int] | None, running: bytes | None) -> bytes:
        """Return the event of one token."""
        return self._chunk(text, None)

    def last(self, part: Part, running: bytes | None, *, stamped: bool) -> bytes:
        """Return the last token's event."""
        return self._chunk(part.text, part.finish_reason)

    def _chunk(self, words: str, reason: str | None) -> bytes:
        return (
            b'data: {"id":%b,"object":"transcription.chunk","created":%b,"model":%b,"choices":[{"delta":'
            b'{"content":%b},"finish_reason":%b,"stop_reason":null}]}\n\n'
            % (self._id, self._created, self._model, _encode(words), _encode(reason))
        )
