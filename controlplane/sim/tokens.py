"""`/inference/v1/generate`, token ids in and out, and `/invocations`, which is any of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from . import answers, generate, pooling
from .answers import Part
from .errors import ApiError, bad_json
from .exchange import Exchange
from .requests import Generate, Tokens, check_sampling, read

if TYPE_CHECKING:
    from .worker import Worker

_encode = msgspec.json.encode


def create(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /inference/v1/generate`."""
    request = exchange.request
    body = read(Tokens, request.body, request.header(b"content-type"), "token_ids")
    asked = body.sampling_params
    given = body.token_ids if isinstance(body.token_ids, list) else []
    inner = Generate(
        n=asked.n,
        stream=body.stream,
        temperature=asked.temperature,
        ignore_eos=asked.ignore_eos,
        return_token_ids=True,
        kv_transfer_params=body.kv_transfer_params,
    )
    check_sampling(inner, asked.max_tokens)
    identity = body.request_id or generate.identity_of(exchange, "generate-tokens-")
    generate.run(worker, exchange, inner, Writer, worker.model(body.model), [given], asked.max_tokens, identity)


def invocations(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /invocations` as the endpoint does whose body this is."""
    raw = exchange.request.body
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_json(raw) from error
    for field, handler in (
        ("messages", generate.chat),
        ("prompt", generate.completion),
        ("input", pooling.embeddings),
        ("query", pooling.rerank),
        ("queries", pooling.score),
    ):
        if isinstance(body, dict) and field in body:
            handler(worker, exchange)
            return
    raise ApiError(400, "Cannot find suitable handler for request. Expected one of: ['ChatCompletionRequest', ...]")


class Writer(answers.Chat):
    """Writes one answer of token ids."""

    def whole(
        self, parts: list[Part], prompt: int, completion: int, cached: int | None = None, handoff: bytes = b"null"
    ) -> bytes:
        """Return the body of an answer that is not streamed."""
        choices = [
            {
                "index": part.index,
                "finish_reason": part.finish_reason,
                "stop_reason": part.stop_reason,
                "token_ids": part.token_ids,
                "logprobs": None,
            }
            for part in parts
        ]
        return _encode(
            {
                "request_id": self.identity,
                "model": msgspec.json.decode(self._model),
                "created": msgspec.Raw(self._created),
                "usage": msgspec.Raw(answers.usage(prompt, completion)),
                "prompt_token_ids": None,
                "kv_transfer_params": msgspec.Raw(handoff),
                "output_mode": "tokens",
                "choices": choices,
            }
        )

    def opening(self, index: int, prompt_token_ids: list[int] | None, running: bytes | None) -> bytes | None:
        """Return None: nothing comes before the first token."""
        return None

    def event(self, index: int, text: str, token_ids: list[int] | None, running: bytes | None) -> bytes:
        """Return the event of one token."""
        return self._chunk(index, token_ids, None)

    def last(self, part: Part, running: bytes | None, *, stamped: bool) -> bytes:
        """Return the last token's event."""
        return self._chunk(part.index, part.token_ids, part.finish_reason)

    def usage(self, prompt: int, completion: int, cached: int | None = None) -> bytes:
        """Return the usage event."""
        told = {"request_id": self.identity, "usage": msgspec.Raw(answers.usage(prompt, completion)), "choices": []}
        return b"data: %b\n\n" % _encode(told)

    def _chunk(self, index: int, token_ids: list[int] | None, reason: str | None) -> bytes:
        choice = {"index": index, "finish_reason": reason, "token_ids": token_ids, "logprobs": None}
        told = {"request_id": self.identity, "output_mode": "tokens", "choices": [choice]}
        return b"data: %b\n\n" % _encode(told)
