"""Every error body that the router itself sends to a client, in OpenAI's shape or Anthropic's.

`type` says which side failed and `code` what happened; both are stable, so clients may switch on them.
`message` gives the cause and what to do next, and ends with the request's id.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.routes import Dialect

CLIENT = "invalid_request_error"
ROUTER = "router_error"
WORKER = "worker_error"

Side = Literal["client", "router", "worker"]
"""Whose fault a failure is, in the metrics."""
_SIDES: dict[str, Side] = {CLIENT: "client", ROUTER: "router", WORKER: "worker"}


OWN_HEADERS = b"x-routerctl-"
"""What the names of the router's own header fields begin with."""
WORKER_HEADER = b"x-routerctl-worker"
"""Names the worker in answers, with --expose-worker."""


class RouterError(Exception):
    """An answer that the router gives in a worker's place.

    `blamed` is the side whose fault it is, for the metrics: that of `side`, unless said otherwise. `worker` is the
    one that it is about, when clients may know (--expose-worker). `kind` is the body's `type`: `side`, unless said
    otherwise. `is_final`: sending the same again is in vain, which OpenAI's and Anthropic's clients are told.
    `retry_after_ms` is `retry_after` as exactly as it is known: the same clients go by that.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        side: str = ROUTER,
        param: str | None = None,
        retry_after: int | None = None,
        close: bool = False,
        allow: str | None = None,
        challenge: str | None = None,
        blamed: Side | None = None,
    ) -> None:
        """Describe the answer; `retry_after` is in whole seconds, `close` ends the client's connection.

        `challenge` says how to prove who one is (`WWW-Authenticate`).
        """
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.side = side
        self.param = param
        self.retry_after = retry_after
        self.retry_after_ms: int | None = None
        self.close = close
        self.allow = allow
        self.challenge = challenge
        self.blamed: Side = blamed or _SIDES[side]
        self.worker: str | None = None
        self.kind = side
        self.is_final = False


class _Error(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class _Body(msgspec.Struct):
    error: _Error


_ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Anthropic's error types by status; all others are `api_error`."""


class _AnthropicError(msgspec.Struct):
    type: str
    message: str


class _AnthropicBody(msgspec.Struct):
    type: Literal["error"]
    error: _AnthropicError
    request_id: str


def error_body(error: RouterError, request_id: str, dialect: Dialect = "openai") -> bytes:
    """Return the JSON body, as the clients of that API know it."""
    worker = f" Worker: {error.worker}." if error.worker is not None else ""
    message = f"{error.message}{worker} (request id: {request_id})"
    if dialect == "anthropic":
        kind = _ANTHROPIC.get(error.status, "api_error")
        return msgspec.json.encode(_AnthropicBody("error", _AnthropicError(kind, message), request_id))
    return msgspec.json.encode(_Body(_Error(message, error.kind, error.param, error.code)))


def error_event(error: RouterError, request_id: str, dialect: Dialect = "openai") -> bytes:
    """Return the last event of a stream that breaks off."""
    name = b"event: error\n" if dialect == "anthropic" else b""
    return b"%bdata: %b\n\n" % (name, error_body(error, request_id, dialect))


def shortened(model: str) -> str:
    """Return a model's name as texts show what a client chose."""
    return model if len(model) <= 200 else model[:200] + "..."


def model_not_found(model: str, known: tuple[str, ...]) -> RouterError:
    """No worker serves that model."""
    hint = f"Models served here: {', '.join(known[:20])}." if known else "GET /v1/models lists those served here."
    return RouterError(
        404, "model_not_found", f"The model `{shortened(model)}` does not exist. {hint}", side=CLIENT, param="model"
    )


def method_not_allowed(path: str, allow: str) -> RouterError:
    """The router's own path does not take that method."""
    return RouterError(405, "method_not_allowed", f"{path} takes {allow} only.", side=CLIENT, allow=allow)


_SEND_A_KEY = "Send one that the operator gave you, as `Authorization: Bearer KEY` or `x-api-key: KEY`."


def missing_api_key() -> RouterError:
    """The client sends no key, and the router takes none without (`--client-keys-file`)."""
    return RouterError(
        401, "missing_api_key", f"This router asks for an API key. {_SEND_A_KEY}", side=CLIENT, challenge="Bearer"
    )


def invalid_api_key() -> RouterError:
    """No key that the router knows; it may have been one."""
    return RouterError(
        401,
        "invalid_api_key",
        f"The API key is not known here, or was revoked. {_SEND_A_KEY}",
        side=CLIENT,
        challenge='Bearer error="invalid_token"',
    )


def expired_api_key(name: str) -> RouterError:
    """A key whose time is over."""
    return RouterError(
        401,
        "expired_api_key",
        f"The API key called {name} has expired. Ask the operator for a new one.",
        side=CLIENT,
        challenge='Bearer error="invalid_token"',
    )


def model_not_allowed(name: str, model: str | None) -> RouterError:
    """The key is good for other models; None is a request that names none."""
    if model is None:
        what = "is for some models only, and the request names none. Name one with `model`"
    else:
        what = f"is not for the model `{shortened(model)}`. GET /v1/models lists those that it is for"
    return RouterError(403, "model_not_allowed", f"The API key called {name} {what}.", side=CLIENT, param="model")


def origin_not_allowed() -> RouterError:
    """A page's WebSocket, and the page is none of those that may."""
    return RouterError(
        403,
        "origin_not_allowed",
        "This page may open no WebSocket here (--cors-allowed-origins). Ask the operator to name it.",
        side=CLIENT,
    )


def from_a_web_page() -> RouterError:
    """A browser sends a change of the fleet for a page that it shows."""
    return RouterError(403, "from_a_web_page", "The fleet is not changed by web pages (Origin).", side=CLIENT)


def bad_request(what: str) -> RouterError:
    """The request is not what HTTP allows; what follows on its connection can not be trusted either."""
    return RouterError(400, "bad_request", f"The request {what}. Send what RFC 9112 allows.", side=CLIENT, close=True)


def internal() -> RouterError:
    """The router itself failed; its log has the cause."""
    return RouterError(500, "internal_error", "The router failed. Its log has the cause, under this request's id.")


def no_worker(reason: str, *, blamed: Side = "worker") -> RouterError:
    """Nobody can take the request now; as a rule that is the workers' fault."""
    return RouterError(503, "no_worker_available", f"{reason} Try again shortly.", retry_after=1, blamed=blamed)


def payload_too_large(limit: int) -> RouterError:
    """The body is longer than `--max-payload-size`."""
    return RouterError(
        413,
        "payload_too_large",
        f"The request body is larger than {limit} bytes, the most this router takes (--max-payload-size). "
        "Send a smaller request.",
        side=CLIENT,
        close=True,
    )


def unreachable(attempts: int) -> RouterError:
    """Every worker that was tried could not be reached."""
    return RouterError(
        503,
        "workers_unreachable",
        f"No worker answered in {attempts} attempt{'s' * (attempts != 1)}: connections were refused, or closed "
        "without an answer. Try again shortly.",
        side=WORKER,
        retry_after=1,
    )


def out_of_descriptors() -> RouterError:
    """The router can open no connection to any worker: its own limit, and no worker's fault."""
    return RouterError(
        503,
        "out_of_descriptors",
        "The router has no file descriptor left for a connection to a worker. Try again shortly; "
        "its operator can raise the limit of open files.",
        retry_after=1,
        close=True,
    )


def bad_answer(what: str) -> RouterError:
    """The worker's answer broke off or was no HTTP before anything of it went to the client."""
    return RouterError(502, "bad_worker_answer", f"The worker's answer {what}. Try again.", side=WORKER)


def unknown_path() -> RouterError:
    """A path without a row in the table of routes, with `--strict-paths`."""
    return RouterError(
        404,
        "unknown_path",
        "This router passes known paths only (--strict-paths), and this is none. docs/api.md lists them.",
        side=CLIENT,
    )


def admin_not_on_main() -> RouterError:
    """The endpoints about the fleet, and about engines, are off on this port."""
    return RouterError(
        404,
        "admin_not_on_main",
        "The fleet is not shown or changed on this port (--no-admin-on-main, --admin-token-file, "
        "--api-key-file, --client-keys-file). "
        "Use the admin port.",
        side=CLIENT,
    )


def bad_adapter(reason: str) -> RouterError:
    """The body of a request about a LoRA adapter names none."""
    return RouterError(
        400, "bad_adapter", f"{reason} Send vLLM's `lora_name`, and `lora_path` to load it.", side=CLIENT
    )


def adapter_for_nobody(reason: str) -> RouterError:
    """No worker is there that a LoRA adapter could be for."""
    hint = "GET /v1/models lists what is served; in place of an alias, name the model that it stands for."
    return RouterError(404, "adapter_for_nobody", f"{reason} {hint}", side=CLIENT)


def control_plane_down() -> RouterError:
    """The control plane, which alone changes the fleet, did not answer."""
    return RouterError(
        503,
        "control_plane_down",
        "The control plane did not answer, so it is not known whether the fleet was changed. Look, and try again.",
        retry_after=1,
    )


def loop_detected() -> RouterError:
    """The router's own control plane asks whether this is a healthy worker."""
    return RouterError(
        508,
        "loop_detected",
        "This is the router that asks, and it can be no worker of its own. Take this address out of its workers.",
    )


def unreadable_body() -> RouterError:
    """A body that begins like JSON and can not be looked into."""
    return RouterError(
        400,
        "unreadable_body",
        "The request body begins like JSON and can not be read as JSON. Check for NaN, a byte order mark, text that is "
        "not UTF-8, deep nesting, or a missing end.",
        side=CLIENT,
    )


def rank_refused() -> RouterError:
    """The client asks for a data-parallel rank, and `--refuse-client-rank` is set."""
    return RouterError(
        400,
        "rank_refused",
        "The router chooses the data-parallel rank (--refuse-client-rank). Leave x-data-parallel-rank out.",
        side=CLIENT,
    )


def unknown_rank(highest: int) -> RouterError:
    """An `x-data-parallel-rank` that is none of those that there are, or several."""
    return RouterError(
        400,
        "unknown_rank",
        f"The field x-data-parallel-rank names no rank that there is; the highest is {highest}. Send one, or none.",
        side=CLIENT,
    )


def body_timeout(seconds: float) -> RouterError:
    """The client stopped in the middle of its request's body."""
    return RouterError(
        408,
        "request_body_timeout",
        f"Nothing came of the request body for {seconds:g} s (--client-body-timeout-secs). Send it without a pause.",
        side=CLIENT,
        close=True,
    )


def worker_stalled(what: str, seconds: float, flag: str) -> RouterError:
    """The worker's answer stands still."""
    return RouterError(
        504, "worker_stalled", f"The worker's answer {what} for {seconds:g} s ({flag}). Try again.", side=WORKER
    )


def worker_timeout(seconds: float) -> RouterError:
    """The answer did not begin within the time a request may take."""
    return RouterError(
        504,
        "worker_timeout",
        f"The worker did not answer within {seconds:g} s (--request-timeout-secs). Try again or ask for less.",
        side=WORKER,
    )
