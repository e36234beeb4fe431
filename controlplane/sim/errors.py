"""vLLM's error bodies."""

from __future__ import annotations

import json
from typing import Any

import msgspec


class ApiError(Exception):
    """A request that is answered with an error body."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "BadRequestError",
        param: str | None = None,
        *,
        headers: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        """Header lines that go before content-length."""
        self.body = body(status, message, kind, param)


class PlainError(ApiError):
    """FastAPI's own answers, which vLLM leaves in their form."""

    def __init__(self, status: int, detail: str, headers: bytes = b"") -> None:
        super().__init__(status, detail, headers=headers)
        self.body = b'{"detail":"%b"}' % detail.encode()


def body(status: int, message: str, kind: str, param: str | None = None) -> bytes:
    """Return `{"error":{...}}` as vLLM writes it."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": status}})


def server_error(status: int) -> bytes:
    """Return the body of an error that is not the client's fault."""
    if status == 503:
        return body(status, "Service is unavailable, please retry.", "ServiceUnavailableError")
    return body(status, "Internal server error", "InternalServerError")


def invalid(kind: str, where: str, message: str, given: Any, context: str | None = None) -> ApiError:
    """Return the 400 of a body that fits no schema, in the words of FastAPI's validation."""
    shown = given if not isinstance(given, dict) else f"<dict of {len(given)} items>"
    item = {"type": kind, "loc": where, "msg": message, "input": shown}
    if context is not None:
        item["ctx"] = {"error": context}
    return ApiError(400, f"1 validation error:\n  {item}", "Bad Request", where)


def bad_json(raw: bytes) -> ApiError:
    """Return the 400 of a body that is no JSON; its place is the one Python's parser gives."""
    try:
        json.loads(raw)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        place, reason = (
            (error.pos, error.msg) if isinstance(error, json.JSONDecodeError) else (error.start, error.reason)
        )
        return invalid("json_invalid", f"body.{place}", "JSON decode error", {}, reason)
    return invalid("json_invalid", "body", "JSON decode error", {}, "not valid UTF-8 text")


def unknown_model(model: str, known: tuple[str, ...]) -> ApiError:
    """Return the 404 of a model that is not served here."""
    message = f"The model `{model}` does not exist. Valid aliases: {', '.join(known)}."
    return ApiError(404, message, "NotFoundError", "model")


def too_long(max_model_len: int) -> ApiError:
    """Return the 400 of a prompt that leaves no room; vLLM stops counting one token above the limit."""
    counted = max_model_len + 1
    return ApiError(
        400,
        f"This model's maximum context length is {max_model_len} tokens. However, your prompt contains at least "
        f"{counted} input tokens, which exceeds this limit even without any output tokens. Please reduce the "
        f"length of the input prompt. (parameter=input_tokens, value={counted})",
        param="input_tokens",
    )
