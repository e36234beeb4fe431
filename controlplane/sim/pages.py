"""Every endpoint but the generating ones: models, tokens, embeddings, health and figures."""

from __future__ import annotations

import random
from base64 import b64encode
from struct import pack
from typing import TYPE_CHECKING, Any

import msgspec

from . import metrics as exposition
from . import requests, text, tokenizer, wire
from .errors import ApiError, too_long
from .exchange import Exchange

if TYPE_CHECKING:
    from .worker import Worker

_DIMENSIONS = 32


def _json(exchange: Exchange, answer: Any) -> None:
    exchange.send(200, wire.JSON, msgspec.json.encode(answer))


def health(worker: Worker, exchange: Exchange) -> None:
    """Answer `/health` and `/ping`: 200 and nothing."""
    exchange.send(200, b"", b"")


def load(worker: Worker, exchange: Exchange) -> None:
    """Answer `/load`."""
    _json(exchange, {"server_load": worker.load})


def version(worker: Worker, exchange: Exchange) -> None:
    """Answer `/version`."""
    _json(exchange, {"version": worker.config.version})


def kv_event_sources(worker: Worker, exchange: Exchange) -> None:
    """Answer `/kv_event_sources`: by data-parallel rank."""
    publishers = {str(rank.number): rank.kv_publisher for rank in worker.ranks}
    _json(exchange, {rank: one.describe() for rank, one in publishers.items() if one is not None})


def reset_prefix_cache(worker: Worker, exchange: Exchange) -> None:
    """Answer `/sim/reset_prefix_cache`: nothing is cached any more."""
    for rank in worker.ranks:
        rank.forget_cache()
    exchange.send(200, b"", b"")


def metrics(worker: Worker, exchange: Exchange) -> None:
    """Answer `/metrics`."""
    engines = [rank.engine for rank in worker.ranks]
    page = exposition.page(worker.config, engines, worker.served_counts, worker.started_at)
    if any(rank.requests for rank in worker.ranks):
        worker.busy_page = page
    elif worker.faults.sticks:
        page = worker.busy_page or page
    exchange.send(200, wire.METRICS, page)


def models(worker: Worker, exchange: Exchange) -> None:
    """Answer `/v1/models`."""
    created = int(worker.wall())
    root = worker.config.models[0]
    data = [
        {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "vllm",
            "root": root,
            "parent": None,
            "max_model_len": worker.config.max_model_len,
            "permission": [
                {
                    "id": f"modelperm-{random.getrandbits(64):016x}",
                    "object": "model_permission",
                    "created": created,
                    "allow_create_engine": False,
                    "allow_sampling": True,
                    "allow_logprobs": True,
                    "allow_search_indices": False,
                    "allow_view": True,
                    "allow_fine_tuning": False,
                    "organization": "*",
                    "group": None,
                    "is_blocking": False,
                }
            ],
        }
        for name in worker.config.models
    ]
    _json(exchange, {"object": "list", "data": data})


def tokenize(worker: Worker, exchange: Exchange) -> None:
    """Answer `/tokenize`, of a prompt or of chat messages."""
    request = exchange.request
    body = requests.read(requests.Tokenize, request.body, request.header(b"content-type"))
    worker.model(body.model)
    if body.messages is not None:
        tokens = requests.chat_prompt(body.messages)
    elif body.prompt is not None:
        tokens = tokenizer.encode(body.prompt)
    else:
        raise ApiError(400, "Give either prompt or messages.", param="prompt")
    _json(
        exchange,
        {
            "count": len(tokens),
            "max_model_len": worker.config.max_model_len,
            "tokens": tokens,
            "token_strs": [tokenizer.piece(token) for token in tokens] if body.return_token_strs else None,
        },
    )


def detokenize(worker: Worker, exchange: Exchange) -> None:
    """Answer `/detokenize`."""
    request = exchange.request
    body = requests.read(requests.Detokenize, request.body, request.header(b"content-type"), "tokens")
    worker.model(body.model)
    try:
        prompt = tokenizer.decode(body.tokens if isinstance(body.tokens, list) else [])
    except ValueError as error:
        raise ApiError(400, str(error)) from error
    _json(exchange, {"prompt": prompt})


def embeddings(worker: Worker, exchange: Exchange) -> None:
    """Answer `/v1/embeddings`: vectors that are a pure function of each input. No engine time is spent."""
    request = exchange.request
    body = requests.read(requests.Embeddings, request.body, request.header(b"content-type"), "input")
    model = worker.model(body.model)
    if not isinstance(body.input, str | list) or not body.input:
        raise ApiError(400, "input must not be empty", param="input")
    prompts = requests.prompts(body.input)
    data = []
    for index, prompt in enumerate(prompts):
        if len(prompt) > worker.config.max_model_len:
            raise too_long(worker.config.max_model_len)
        vector = _vector(prompt, body.dimensions or _DIMENSIONS)
        shown: Any = vector
        if body.encoding_format == "base64":
            shown = b64encode(pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"index": index, "object": "embedding", "embedding": shown})
    count = sum(map(len, prompts))
    given = request.header(b"x-request-id")
    _json(
        exchange,
        {
            "id": "embd-" + (given.decode("latin-1") if given else f"{random.getrandbits(64):016x}"),
            "object": "list",
            "created": int(worker.wall()),
            "model": model,
            "data": data,
            "usage": {
                "prompt_tokens": count,
                "total_tokens": count,
                "completion_tokens": 0,
                "prompt_tokens_details": None,
                "completion_tokens_details": None,
            },
        },
    )


def _vector(prompt: list[int], dimensions: int) -> list[float]:
    """Return a vector of length 1."""
    seed = text.seed_of(prompt)
    values = [rank - 31.5 for rank in text.ranks(seed, 0, dimensions)]
    norm = sum(value * value for value in values) ** 0.5
    return [value / norm for value in values]
