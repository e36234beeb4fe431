"""The request bodies a worker reads, and the limits vLLM puts on their fields."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from . import tokenizer
from .errors import ApiError, bad_json, invalid

MAX_CHOICES = 128
"""Bound on `n` times prompts: every choice is a sequence of the engine."""


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class Part(msgspec.Struct):
    """A part of a message's content; only text has words."""

    type: str = "text"
    text: str | None = None


class Message(msgspec.Struct):
    """A chat message."""

    role: str
    content: str | list[Part] | None = None

    def text(self) -> str:
        """Return the words of the message."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text or "" for part in self.content)


class Generate(msgspec.Struct):
    """The fields that both generating endpoints have."""

    model: str | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool = False
    temperature: float | None = None
    return_token_ids: bool | None = None
    kv_transfer_params: dict[str, Any] | None = None


class Chat(Generate):
    """`POST /v1/chat/completions`."""

    messages: list[Message] | UnsetType = UNSET
    max_completion_tokens: int | None = None


class Batch(Generate):
    """`POST /v1/chat/completions/batch`."""

    messages: list[list[Message]] | UnsetType = UNSET
    max_completion_tokens: int | None = None


class Messages(msgspec.Struct):
    """`POST /v1/messages` and what counts its tokens."""

    messages: list[Message] | UnsetType = UNSET
    model: str | None = None
    system: str | list[Part] | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    kv_transfer_params: dict[str, Any] | None = None


class Responses(msgspec.Struct):
    """`POST /v1/responses`."""

    input: str | list[Message] | UnsetType = UNSET
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = True
    previous_response_id: str | None = None
    request_id: str | None = None
    temperature: float | None = None
    kv_transfer_params: dict[str, Any] | None = None


class SamplingParams(msgspec.Struct):
    """What `/inference/v1/generate` takes of vLLM's sampling parameters."""

    max_tokens: int | None = 16
    min_tokens: int = 0
    n: int = 1
    ignore_eos: bool = False
    temperature: float = 1.0


class Tokens(msgspec.Struct):
    """`POST /inference/v1/generate`."""

    token_ids: list[int] | UnsetType = UNSET
    sampling_params: SamplingParams = msgspec.field(default_factory=SamplingParams)
    model: str | None = None
    stream: bool | None = None
    request_id: str | None = None
    kv_transfer_params: dict[str, Any] | None = None


class Pooled(msgspec.Struct):
    """`POST /pooling` and `/classify`."""

    input: str | list[int | str | list[int]] | UnsetType = UNSET
    model: str | None = None


class Score(msgspec.Struct):
    """`POST /score`, by any of the names that its two sides have."""

    model: str | None = None
    queries: str | list[str] | None = None
    documents: str | list[str] | None = None
    items: str | list[str] | None = None
    data_1: str | list[str] | None = None
    data_2: str | list[str] | None = None
    text_1: str | list[str] | None = None
    text_2: str | list[str] | None = None


class Rerank(msgspec.Struct):
    """`POST /rerank`."""

    query: str | UnsetType = UNSET
    documents: list[str] | UnsetType = UNSET
    model: str | None = None
    top_n: int = 0


class Adapter(msgspec.Struct):
    """`POST /v1/load_lora_adapter` and `/v1/unload_lora_adapter`."""

    lora_name: str | UnsetType = UNSET
    lora_path: str = ""
    load_inplace: bool = False


class Completion(Generate):
    """`POST /v1/completions`."""

    prompt: str | list[int | str | list[int]] | UnsetType | None = UNSET


class Embeddings(msgspec.Struct):
    """`POST /v1/embeddings`."""

    model: str | None = None
    input: str | list[int | str | list[int]] | UnsetType = UNSET
    encoding_format: str = "float"
    dimensions: int | None = None


class Tokenize(msgspec.Struct):
    """`POST /tokenize`."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    return_token_strs: bool | None = None


class Detokenize(msgspec.Struct):
    """`POST /detokenize`."""

    tokens: list[int] | UnsetType = UNSET
    model: str | None = None


Body = TypeVar("Body", bound=msgspec.Struct)

_DECODERS: dict[type[Any], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        Chat, Batch, Completion, Messages, Responses, Tokens, Embeddings, Pooled, Score, Rerank, Adapter, Tokenize,
        Detokenize,
    )
}  # fmt: skip


def read(kind: type[Body], raw: bytes, content_type: bytes | None, required: str | None = None) -> Body:
    """Return the decoded body; ApiError 400 as vLLM answers it."""
    if (content_type or b"").split(b";", 1)[0].strip().lower() != b"application/json":
        raise ApiError(
            400,
            "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
            "Bad Request",
        )
    try:
        body: Body = _DECODERS[kind].decode(raw)
    except msgspec.ValidationError as error:
        raise _mismatch(str(error), raw) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_json(raw) from error
    if required is not None and getattr(body, required) is UNSET:
        raise invalid("missing", f"body.{required}", "Field required", msgspec.json.decode(raw))
    return body


def _mismatch(message: str, raw: bytes) -> ApiError:
    """Name the field as vLLM does; the words of the reason are msgspec's."""
    reason, _, place = message.partition(" - at `$")
    where = "body" + place.rstrip("`").replace("[", ".").replace("]", "").replace("...", "")
    given = msgspec.json.decode(raw)
    return invalid("value_error", where, reason, given if isinstance(given, dict) else str(given))


def check_sampling(body: Generate, limit: int | None) -> None:
    """Refuse what vLLM's sampling parameters refuse; `limit` is the max_tokens that counts."""
    if body.stream_options is not None and not body.stream:
        raise ApiError(400, "Stream options can only be defined when `stream=True`.", param="stream_options")
    if limit is not None and limit < 1:
        raise ApiError(400, f"max_tokens must be at least 1, got {limit}.", param="max_tokens")
    if body.n is not None and not 1 <= body.n <= MAX_CHOICES:
        raise ApiError(400, f"n must be between 1 and {MAX_CHOICES}, got {body.n}.", param="n")
    if body.min_tokens is not None and limit is not None and body.min_tokens > limit:
        raise ApiError(
            400,
            f"min_tokens must be less than or equal to max_tokens={limit}, got {body.min_tokens}.",
            param="min_tokens",
        )


def chat_prompt(messages: list[Message]) -> list[int]:
    """Return the ids of a conversation."""
    return tokenizer.chat((message.role, message.text()) for message in messages)


def prompts(given: str | list[int | str | list[int]]) -> list[list[int]]:
    """Return the ids of each prompt of a `prompt` or `input` field."""
    if isinstance(given, str):
        return [tokenizer.encode(given)]
    if given and isinstance(given[0], int):
        return [_checked(given)]
    return [
        tokenizer.encode(one) if isinstance(one, str) else _checked(one if isinstance(one, list) else given)
        for one in given
    ]


def _checked(ids: Any) -> list[int]:
    if not all(isinstance(token, int) for token in ids):
        raise ApiError(400, "A prompt is a text or a list of token ids, not a mixture.", param="prompt")
    if ids and not (min(ids) >= 0 and max(ids) < tokenizer.VOCABULARY):
        bad = next(token for token in ids if not 0 <= token < tokenizer.VOCABULARY)
        raise ApiError(400, f"Token id {bad} is out of vocabulary", param="prompt")
    return list(ids)
