"""Anthropic's `/v1/messages` and `/v1/messages/count_tokens`, as vLLM 0.32 writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from . import answers, generate, tokenizer, wire
from .answers import Part
from .errors import ApiError
from .exchange import Exchange
from .requests import Generate, Message, Messages, check_sampling, read

if TYPE_CHECKING:
    from .worker import Worker

_encode = msgspec.json.encode
_DEFAULT_TOKENS = 16


def create(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /v1/messages`."""
    _translated(_create, worker, exchange)


def count_tokens(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /v1/messages/count_tokens`."""
    _translated(_count_tokens, worker, exchange)


def _translated(handler: Callable[[Worker, Exchange], None], worker: Worker, exchange: Exchange) -> None:
    """Answer, with errors in Anthropic's shape as far as vLLM has them in it: not those of a body's fields."""
    try:
        handler(worker, exchange)
    except ApiError as error:
        told = msgspec.json.decode(error.body)["error"]
        if told["type"] != "Bad Request":
            shown = {"type": told["type"], "message": told["message"]}
            error.body = _encode({"type": "error", "error": shown})
        raise


def _create(worker: Worker, exchange: Exchange) -> None:
    request = exchange.request
    body = read(Messages, request.body, request.header(b"content-type"), "messages")
    limit = _DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
    asked = Generate(stream=body.stream, stop=body.stop_sequences, kv_transfer_params=body.kv_transfer_params)
    check_sampling(asked, limit)
    identity = generate.identity_of(exchange, "chatcmpl-")
    generate.run(worker, exchange, asked, Writer, worker.model(body.model), [_prompt(body)], limit, identity)


def _count_tokens(worker: Worker, exchange: Exchange) -> None:
    request = exchange.request
    body = read(Messages, request.body, request.header(b"content-type"), "messages")
    worker.model(body.model)
    exchange.send(200, wire.JSON, _encode({"input_tokens": len(_prompt(body))}))


def _prompt(body: Messages) -> list[int]:
    messages = list(body.messages) if isinstance(body.messages, list) else []
    if body.system:
        messages.insert(0, Message("system", body.system))
    return tokenizer.chat((message.role, message.text()) for message in messages)


def _stop_reason(part: Part) -> str:
    if part.finish_reason == "length":
        return "max_tokens"
    return "stop_sequence" if part.stop_reason else "end_turn"


class Writer(answers.Chat):
    """Writes one message."""

    tail = (b'event: message_stop\ndata: {"type":"message_stop"}\n\n',)
    tells_usage = True
    has_several = True

    def __init__(self, identity: str, created: int, model: str, system_fingerprint: str) -> None:
        super().__init__(identity, created, model, system_fingerprint)
        self._ended: Part | None = None

    def whole(
        self, parts: list[Part], prompt: int, completion: int, cached: int | None = None, handoff: bytes = b"null"
    ) -> bytes:
        """Return the body of an answer that is not streamed; what is null is left out."""
        (part,) = parts
        usage = {"input_tokens": prompt - (cached or 0), "output_tokens": completion}
        if cached is not None:
            usage["cache_read_input_tokens"] = cached
        message: dict[str, Any] = {
            "id": self.identity,
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": part.text}],
            "model": msgspec.json.decode(self._model),
            "stop_reason": _stop_reason(part),
        }
        if part.stop_reason:
            message["stop_sequence"] = part.stop_reason
        message["usage"] = usage
        if handoff != b"null":
            message["kv_transfer_params"] = msgspec.Raw(handoff)
        return _encode(message)

    def opening(self, index: int, prompt_token_ids: list[int] | None, running: bytes | None) -> bytes | None:
        """Return the events that come before the text."""
        return (
            b'event: message_start\ndata: {"type":"message_start","message":{"id":%b,"type":"message",'
            b'"role":"assistant","content":[],"model":%b,"stop_reason":null,"stop_sequence":null,'
            b'"usage":{"input_tokens":%d,"output_tokens":0}}}\n\n'
            % (self._id, self._model, self.prompt_tokens)
            + b'event: content_block_start\ndata: {"type":"content_block_start",'
            b'"content_block":{"type":"text","text":""},"index":0}\n\n'
        )

    def event(self, index: int, text: str, token_ids: list[int] | None, running: bytes | None) -> bytes:
        """Return the event of one token."""
        return (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta",'
            b'"text":"%b"},"index":0}\n\n' % text.encode()
        )

    def last(self, part: Part, running: bytes | None, *, stamped: bool) -> bytes:
        """Return the last token's event, and the one that ends the text."""
        self._ended = part
        stop = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        return (self.event(0, part.text, None, None) if part.text else b"") + stop

    def usage(self, prompt: int, completion: int, cached: int | None = None) -> bytes:
        """Return the event that tells how it ended."""
        assert self._ended is not None  # noqa: S101 - the last token came before
        delta = {"stop_reason": _stop_reason(self._ended), "stop_sequence": self._ended.stop_reason}
        told = {"input_tokens": prompt - (cached or 0), "output_tokens": completion}
        if cached is not None:
            told["cache_read_input_tokens"] = cached
        return b"event: message_delta\ndata: %b\n\n" % _encode({"type": "message_delta", "delta": delta, "usage": told})
