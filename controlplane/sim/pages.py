"""The endpoints that no model works for: models, tokens, health and figures."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec

from . import metrics as exposition
from . import requests, tokenizer, wire
from .errors import ApiError
from .exchange import Exchange

if TYPE_CHECKING:
    from .worker import Worker


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
            "root": worker.adapters.get(name, root),
            "parent": root if name in worker.adapters else None,
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
        for name in (*worker.config.models, *worker.adapters)
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
