"""What pooling models answer: vectors, scores and classes that are a pure function of each input. No engine time."""

from __future__ import annotations

from base64 import b64encode
from struct import pack
from typing import TYPE_CHECKING, Any

import msgspec

from . import requests, text, tokenizer, wire
from .errors import ApiError, too_long
from .exchange import Exchange
from .generate import identity_of

if TYPE_CHECKING:
    from .worker import Worker

_DIMENSIONS = 32
_CLASSES = ("LABEL_0", "LABEL_1")
_SIDES = (("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2"))


def embeddings(worker: Worker, exchange: Exchange) -> None:
    """Answer `/v1/embeddings`."""
    request = exchange.request
    body = requests.read(requests.Embeddings, request.body, request.header(b"content-type"), "input")
    prompts = _prompts(worker, body.input)
    model = worker.model(body.model)
    data = []
    for index, prompt in enumerate(prompts):
        vector = _vector(prompt, body.dimensions or _DIMENSIONS)
        shown: Any = vector
        if body.encoding_format == "base64":
            shown = b64encode(pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"index": index, "object": "embedding", "embedding": shown})
    _list(worker, exchange, "embd-", model, data, prompts)


def pooling(worker: Worker, exchange: Exchange) -> None:
    """Answer `/pooling`."""
    prompts, model = _pooled(worker, exchange)
    data = [
        {"index": index, "object": "pooling", "data": _vector(prompt, _DIMENSIONS)}
        for index, prompt in enumerate(prompts)
    ]
    _list(worker, exchange, "pool-", model, data, prompts)


def classify(worker: Worker, exchange: Exchange) -> None:
    """Answer `/classify`."""
    prompts, model = _pooled(worker, exchange)
    data = []
    for index, prompt in enumerate(prompts):
        first = _share(prompt)
        probs = [first, 1 - first]
        label = _CLASSES[probs.index(max(probs))]
        data.append({"index": index, "label": label, "probs": probs, "num_classes": len(_CLASSES)})
    _list(worker, exchange, "classify-", model, data, prompts)


def score(worker: Worker, exchange: Exchange) -> None:
    """Answer `/score`: one text against each of the others, or as many pairs."""
    request = exchange.request
    body = requests.read(requests.Score, request.body, request.header(b"content-type"))
    sides = next(((getattr(body, a), getattr(body, b)) for a, b in _SIDES if getattr(body, a) is not None), None)
    if sides is None or sides[1] is None:
        raise ApiError(400, "Give two sides: queries and documents.", "Bad Request")
    left, right = ([side] if isinstance(side, str) else side for side in sides)
    if len(left) == 1:
        left = left * len(right)
    if len(left) != len(right) or not left:
        raise ApiError(400, "Input lengths must be either 1:1, 1:N or N:N")
    pairs = [tokenizer.encode(one + other) for one, other in zip(left, right, strict=True)]
    data = [{"index": index, "object": "score", "score": _share(pair)} for index, pair in enumerate(pairs)]
    _list(worker, exchange, "score-", worker.model(body.model), data, pairs)


def rerank(worker: Worker, exchange: Exchange) -> None:
    """Answer `/rerank`: the documents, best first."""
    request = exchange.request
    body = requests.read(requests.Rerank, request.body, request.header(b"content-type"), "query")
    if not isinstance(body.documents, list) or not isinstance(body.query, str):
        raise ApiError(400, "Field required", "Bad Request", "body.documents")
    model = worker.model(body.model)
    pairs = [tokenizer.encode(body.query + document) for document in body.documents]
    results = [
        {"index": index, "document": {"text": document, "multi_modal": None}, "relevance_score": _share(pair)}
        for index, (document, pair) in enumerate(zip(body.documents, pairs, strict=True))
    ]
    results.sort(key=lambda result: -float(str(result["relevance_score"])))
    count = sum(map(len, pairs))
    told = {
        "id": identity_of(exchange, "score-"),
        "model": model,
        "usage": {"prompt_tokens": count, "total_tokens": count},
        "results": results[: body.top_n or None],
    }
    exchange.send(200, wire.JSON, msgspec.json.encode(told))


def _pooled(worker: Worker, exchange: Exchange) -> tuple[list[list[int]], str]:
    request = exchange.request
    body = requests.read(requests.Pooled, request.body, request.header(b"content-type"), "input")
    return _prompts(worker, body.input), worker.model(body.model)


def _prompts(worker: Worker, given: Any) -> list[list[int]]:
    if not isinstance(given, str | list) or not given:
        raise ApiError(400, "input must not be empty", param="input")
    prompts = requests.prompts(given)
    if any(len(prompt) > worker.config.max_model_len for prompt in prompts):
        raise too_long(worker.config.max_model_len)
    return prompts


def _list(
    worker: Worker, exchange: Exchange, prefix: str, model: str, data: list[dict[str, Any]], prompts: list[list[int]]
) -> None:
    count = sum(map(len, prompts))
    told = {
        "id": identity_of(exchange, prefix),
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
    }
    exchange.send(200, wire.JSON, msgspec.json.encode(told))


def _vector(prompt: list[int], dimensions: int) -> list[float]:
    """Return a vector of length 1."""
    values = [rank - 31.5 for rank in text.ranks(text.seed_of(prompt), 0, dimensions)]
    norm = sum(value * value for value in values) ** 0.5
    return [value / norm for value in values]


def _share(prompt: list[int]) -> float:
    """Return a number from 0 to 1."""
    return text.seed_of(prompt) / 2**64
