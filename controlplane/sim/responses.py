"""OpenAI's `/v1/responses`, as vLLM 0.32 writes it, with what it keeps of them (VLLM_ENABLE_RESPONSES_API_STORE)."""

from __future__ import annotations

import random
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from . import answers, generate, text, tokenizer, wire
from .answers import Part
from .engine import Sequence
from .errors import ApiError
from .exchange import Exchange
from .requests import Generate, Message, Responses, check_sampling, read

if TYPE_CHECKING:
    from .rank import Rank
    from .worker import Worker

_encode = msgspec.json.encode
_MOST_KEPT = 4096
"""vLLM's store has no bound; a simulator that runs for days needs one."""


class Kept:
    """A response that can be asked for again."""

    def __init__(self, messages: list[Message], response: dict[str, Any]) -> None:
        self.messages = messages
        self.response = response
        self.running: tuple[Rank, list[Sequence]] | None = None


Store = OrderedDict[str, Kept]


def _not_found(identity: str) -> ApiError:
    return ApiError(404, f"Response with id '{identity}' not found.", "invalid_request_error", "response_id")


def create(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /v1/responses`."""
    request = exchange.request
    body = read(Responses, request.body, request.header(b"content-type"), "input")
    model = worker.model(body.model)
    keeps = bool(body.store) and worker.config.responses_store
    if body.background and not keeps:
        raise ApiError(
            400,
            "This vLLM engine does not support `store=True` and therefore does not support the background mode. To "
            "enable these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching "
            "the vLLM server.",
            "invalid_request_error",
            "background",
        )
    messages = _messages(worker, body)
    asked = Generate(stream=body.stream, temperature=body.temperature, kv_transfer_params=body.kv_transfer_params)
    check_sampling(asked, body.max_output_tokens)
    identity = body.request_id or f"resp_{random.getrandbits(64):016x}"
    prompt = tokenizer.chat((message.role, message.text()) for message in messages)
    shown = _response(identity, int(worker.wall()), model, body)
    if keeps:
        _keep(worker.responses, identity, Kept(messages, shown))
    if body.background and not body.stream:
        _begin(worker, exchange, identity, asked, prompt, body.max_output_tokens)
        return
    writer = partial(Writer, shown)
    generate.run(worker, exchange, asked, writer, model, [prompt], body.max_output_tokens, identity)


def _messages(worker: Worker, body: Responses) -> list[Message]:
    messages: list[Message] = []
    if body.previous_response_id is not None:
        before = worker.responses.get(body.previous_response_id)
        if before is None:
            raise _not_found(body.previous_response_id)
        messages += [*before.messages, Message("assistant", _text(before.response))]
    if body.instructions:
        messages.insert(0, Message("system", body.instructions))
    given = body.input if isinstance(body.input, str | list) else ""
    return messages + ([Message("user", given)] if isinstance(given, str) else given)


def _text(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


def _keep(store: Store, identity: str, kept: Kept) -> None:
    store[identity] = kept
    if len(store) > _MOST_KEPT:
        store.popitem(last=False)


def retrieve(worker: Worker, exchange: Exchange) -> None:
    """Answer `GET /v1/responses/{id}`."""
    kept = _find(worker, exchange)
    exchange.send(200, wire.JSON, _encode(kept.response))


def cancel(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /v1/responses/{id}/cancel`."""
    kept = _find(worker, exchange)
    if kept.response["status"] not in ("queued", "in_progress"):
        raise ApiError(400, "Cannot cancel a synchronous response.", "invalid_request_error", "response_id")
    kept.response["status"] = "cancelled"
    if kept.running is not None:
        rank, sequences = kept.running
        kept.running = None
        rank.abort(sequences)
    exchange.send(200, wire.JSON, _encode(kept.response))


def _find(worker: Worker, exchange: Exchange) -> Kept:
    identity = exchange.request.path.split(b"/")[3].decode("latin-1")
    if (kept := worker.responses.get(identity)) is None:
        raise _not_found(identity)
    return kept


def _begin(
    worker: Worker, exchange: Exchange, identity: str, asked: Generate, prompt: list[int], limit: int | None
) -> None:
    """Answer at once, and generate in the background."""
    kept = worker.responses[identity]
    rank = worker.rank(exchange.request.header(b"x-data-parallel-rank"))
    choices = generate.choices_of(rank, worker.config.max_model_len, asked, [prompt], limit)
    (choice,) = choices
    kept.response["status"] = "queued"

    def progressed() -> None:
        sequence = choice.sequence
        if sequence.finish_reason is None:
            kept.response["status"] = "in_progress"
            return
        kept.running = None
        words = choice.slice(0, sequence.produced)
        _complete(kept.response, words, sequence.finish_reason, len(prompt), sequence.produced, sequence.cached)

    exchange.send(200, wire.JSON, _encode(kept.response))
    kept.running = (rank, [choice.sequence])
    rank.submit([choice.sequence], progressed)


def _response(identity: str, created: int, model: str, body: Responses) -> dict[str, Any]:
    """Return a response without an answer yet, key for key as vLLM's."""
    return {
        "id": identity,
        "created_at": created,
        "incomplete_details": None,
        "instructions": body.instructions,
        "metadata": None,
        "model": model,
        "object": "response",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "tool_choice": "none",
        "tools": [],
        "top_p": 1.0,
        "background": bool(body.background),
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": None,
        "previous_response_id": body.previous_response_id,
        "prompt": None,
        "reasoning": None,
        "service_tier": "auto",
        "status": "in_progress",
        "text": None,
        "top_logprobs": None,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "input_messages": None,
        "output_messages": None,
    }


def _item(identity: str, words: str, status: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"annotations": [], "text": words, "type": "output_text", "logprobs": None}]
    return {
        "id": identity,
        "content": content if words or status == "completed" else [],
        "role": "assistant",
        "status": status,
        "type": "message",
        "phase": None,
    }


def _complete(
    response: dict[str, Any], words: str, reason: str, prompt: int, completion: int, cached: int | None
) -> None:
    """Put the answer in."""
    response["output"] = [_item(f"msg_{text.seed_of([prompt]):016x}", words, "completed")]
    if reason == "length":
        response["incomplete_details"] = {"reason": "max_output_tokens"}
    response["status"] = "incomplete" if reason == "length" else "completed"
    response["usage"] = {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": cached or 0,
            "cache_write_tokens": 0,
            "input_tokens_per_turn": [],
            "cached_tokens_per_turn": [],
        },
        "output_tokens": completion,
        "output_tokens_details": {
            "reasoning_tokens": 0,
            "tool_output_tokens": 0,
            "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": prompt + completion,
    }


class Writer(answers.Chat):
    """Writes one response."""

    tail = ()
    tells_usage = True
    has_several = True

    def __init__(self, shown: dict[str, Any], identity: str, created: int, model: str, system_fingerprint: str) -> None:
        """`shown` is the response without its answer, which is put in at the end: whoever keeps it sees it complete."""
        super().__init__(identity, created, model, system_fingerprint)
        self.shown = shown
        self._item = f"msg_{random.getrandbits(64):016x}"
        self._number = 0
        self._words: list[str] = []
        self._reason = "stop"

    def whole(
        self, parts: list[Part], prompt: int, completion: int, cached: int | None = None, handoff: bytes = b"null"
    ) -> bytes:
        """Return the body of an answer that is not streamed."""
        (part,) = parts
        _complete(self.shown, part.text, part.finish_reason, prompt, completion, cached)
        return _encode({**self.shown, "kv_transfer_params": msgspec.Raw(handoff)})

    def opening(self, index: int, prompt_token_ids: list[int] | None, running: bytes | None) -> bytes | None:
        """Return the events that come before the text."""
        part = {"annotations": [], "text": "", "type": "output_text", "logprobs": []}
        return b"".join(
            (
                self._event("response.created", response=self.shown),
                self._event("response.in_progress", response=self.shown),
                self._event("response.output_item.added", item=_item(self._item, "", "in_progress"), output_index=0),
                self._of_part("response.content_part.added", part=part),
            )
        )

    def event(self, index: int, text: str, token_ids: list[int] | None, running: bytes | None) -> bytes:
        """Return the event of one token."""
        self._words.append(text)
        return self._of_part("response.output_text.delta", delta=text, logprobs=[])

    def last(self, part: Part, running: bytes | None, *, stamped: bool) -> bytes:
        """Return the last token's event, and those that end the text."""
        self._reason = part.finish_reason
        delta = self.event(0, part.text, None, None)
        words = "".join(self._words)
        item = _item(self._item, words, "completed")
        return b"".join(
            (
                delta,
                self._of_part("response.output_text.done", text=words, logprobs=[]),
                self._of_part("response.content_part.done", part=item["content"][0]),
                self._event("response.output_item.done", item=item, output_index=0),
            )
        )

    def usage(self, prompt: int, completion: int, cached: int | None = None) -> bytes:
        """Return the event that has all of it."""
        _complete(self.shown, "".join(self._words), self._reason, prompt, completion, cached)
        return self._event("response.completed", response=self.shown)

    def _of_part(self, name: str, **fields: Any) -> bytes:
        return self._event(name, item_id=self._item, output_index=0, content_index=0, **fields)

    def _event(self, name: str, **fields: Any) -> bytes:
        data = _encode({**fields, "sequence_number": self._number, "type": name})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
