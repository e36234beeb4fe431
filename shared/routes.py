"""The table of routes: what the router knows of each path, and what everybody asks who treats paths differently.

Rows are vLLM 0.32's server paths, vllm-router's, and the router's own. All requests go through one pipeline; a row only
says who answers and what the pipeline may assume. A path without a row goes to a worker like any other, or is refused
(`--strict-paths`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from shared.catalog import OTHER

Owner = Literal["plane", "fleet", "worker", "engine"]
"""Who answers: the plane from its table, the plane and the control plane about the fleet, a worker, or a worker for an
operator: what changes or stops an engine is open where the fleet's endpoints are (`Settings.admin_on_main`)."""
ModelIn = Literal["body", "form", "query", ""]
"""Where a request names its model: a JSON body, a multipart form, the query, or nowhere."""
Dialect = Literal["openai", "anthropic"]
"""Whose shape errors have."""

_GET = ("GET", "HEAD")
_POST = ("POST",)
_GET_POST = ("GET", "HEAD", "POST")


class Route(NamedTuple):
    """One row. `path` may end in or contain one `{name}`: a segment, or with `{name...}` all that is left.

    `methods` are those that the path takes. `generates`: an engine makes tokens. `hands_over`: its answers hand over
    KV cache, and the engine's prompt can be known from the body. `tells_load`: vLLM tells its load with the answer.
    `is_computed` by the worker's server alone, without its engine: cheap, and the same wherever and whenever it is
    asked, so it may be sent again like a GET. `finds`: only the worker can answer that made the response which the path
    names.
    """

    path: str
    methods: tuple[str, ...]
    family: str
    owner: Owner = "worker"
    model: ModelIn = ""
    generates: bool = False
    hands_over: bool = False
    tells_load: bool = False
    is_computed: bool = False
    finds: bool = False
    dialect: Dialect = "openai"


def _generation(path: str, family: str, *, hands_over: bool = False, tells_load: bool = False) -> Route:
    return Route(path, _POST, family, model="body", generates=True, hands_over=hands_over, tells_load=tells_load)


def _pooling(path: str, family: str) -> Route:
    return Route(path, _POST, family, model="body")


def _computed(path: str, family: str, dialect: Dialect = "openai") -> Route:
    return Route(path, _POST, family, model="body", is_computed=True, dialect=dialect)


def _told(path: str, methods: tuple[str, ...] = _GET) -> Route:
    return Route(path, methods, "server")


def _engine(path: str, methods: tuple[str, ...] = _POST) -> Route:
    return Route(path, methods, "engine", "engine")


def _own(path: str) -> Route:
    return Route(path, _GET, "router", "plane")


def _fleet(path: str, *methods: str) -> Route:
    return Route(path, methods, "fleet", "fleet")


ROUTES: tuple[Route, ...] = (
    _generation("/v1/chat/completions", "chat", hands_over=True, tells_load=True),
    _generation("/v1/chat/completions/batch", "chat"),
    _generation("/v1/completions", "completions", hands_over=True, tells_load=True),
    _generation("/v1/responses", "responses", hands_over=True),
    Route("/v1/responses/{id}", _GET, "responses", finds=True),
    Route("/v1/responses/{id}/cancel", _POST, "responses", finds=True),
    Route("/v1/messages", _POST, "messages", model="body", generates=True, hands_over=True, dialect="anthropic"),
    _computed("/v1/messages/count_tokens", "messages", "anthropic"),
    _generation("/inference/v1/generate", "generate"),
    _generation("/generate", "generate"),
    _generation("/invocations", "invocations"),
    _generation("/cohere/v2/chat", "chat"),
    _generation("/v1/systemone", "chat"),
    _pooling("/v1/embeddings", "embeddings"),
    _pooling("/v2/embed", "embeddings"),
    _pooling("/rerank", "rerank"),
    _pooling("/v1/rerank", "rerank"),
    _pooling("/v2/rerank", "rerank"),
    _pooling("/score", "score"),
    _pooling("/v1/score", "score"),
    _pooling("/generative_scoring", "score"),
    _pooling("/classify", "classify"),
    _pooling("/pooling", "pooling"),
    _computed("/tokenize", "tokenize"),
    _computed("/detokenize", "tokenize"),
    _computed("/v1/chat/completions/render", "render"),
    _computed("/v1/completions/render", "render"),
    _computed("/v1/messages/render", "render", "anthropic"),
    _computed("/v1/responses/render", "render"),
    _computed("/v1/chat/completions/derender", "render"),
    _computed("/v1/completions/derender", "render"),
    Route("/v1/audio/transcriptions", _POST, "audio", model="form", generates=True),
    Route("/v1/audio/translations", _POST, "audio", model="form", generates=True),
    Route("/v1/realtime", _GET, "realtime", model="query"),
    _told("/version"),
    _told("/metrics"),
    _told("/load"),
    _told("/ping", _GET_POST),
    _told("/kv_event_sources"),
    _told("/tokenizer_info"),
    _told("/docs"),
    _told("/redoc"),
    _told("/openapi.json"),
    _engine("/inference/v1/abort_requests"),
    _engine("/abort_requests"),
    _engine("/start_profile"),
    _engine("/stop_profile"),
    _engine("/sleep"),
    _engine("/wake_up"),
    _engine("/is_sleeping", _GET),
    _engine("/release_kv_cache_memory"),
    _engine("/pause"),
    _engine("/resume"),
    _engine("/is_paused", _GET),
    _engine("/reset_prefix_cache"),
    _engine("/reset_mm_cache"),
    _engine("/reset_encoder_cache"),
    _engine("/collective_rpc"),
    _engine("/server_info", _GET),
    _engine("/get_world_size", _GET),
    _engine("/init_weight_transfer_engine"),
    _engine("/shutdown_weight_transfer_engine"),
    _engine("/start_weight_update"),
    _engine("/start_draft_weight_update"),
    _engine("/update_weights"),
    _engine("/finish_weight_update"),
    _engine("/update_weight_version"),
    _engine("/weight_info", _GET),
    _engine("/weight_checker"),
    _engine("/scale_elastic_ep"),
    _engine("/is_scaling_elastic_ep"),
    _engine("/fault_tolerance/apply"),
    _engine("/fault_tolerance/status", _GET),
    _own("/liveness"),
    _own("/readiness"),
    _own("/health"),
    _own("/v1/models"),
    _own("/v1/models/{id...}"),
    # With --mvllm-compat; else it is a worker's, as a path without a row is.
    _own("/"),
    _fleet("/list_workers", *_GET),
    _fleet("/get_loads", *_GET),
    _fleet("/workers", *_GET_POST),
    _fleet("/workers/{url...}", *_GET, "DELETE"),
    _fleet("/add_worker", *_POST),
    _fleet("/remove_worker", *_POST),
    _fleet("/flush_cache", *_POST),
    _fleet("/finish_session", *_POST),
    Route("/v1/load_lora_adapter", _POST, "lora", "fleet"),
    Route("/v1/unload_lora_adapter", _POST, "lora", "fleet"),
    _fleet("/get_server_info", *_GET),
    _fleet("/get_model_info", *_GET),
    _fleet("/health_generate", *_GET),
    _fleet("/scheduling/diagnostics", *_GET),
    _fleet("/load-stats", *_GET),
    _fleet("/server-models", *_GET),
)

UNKNOWN = Route(OTHER, (), OTHER, model="body")
"""What is known of a path without a row. Its label is shared: clients must not grow the metrics."""

_exact = {route.path: route for route in ROUTES if "{" not in route.path}
_patterns = tuple(
    (route.path.partition("{")[0], route.path.partition("}")[2], "...}" in route.path, route)
    for route in ROUTES
    if "{" in route.path
)
"""What is before and behind the part that varies, whether that may have slashes, and the row."""


def route_of(path: str) -> Route:
    """Return the path's row; `UNKNOWN` when it has none."""
    return _exact.get(path) or _by_pattern(path)


def _by_pattern(path: str) -> Route:
    for before, behind, takes_slashes, route in _patterns:
        if path.startswith(before) and path.endswith(behind):
            middle = path[len(before) : len(path) - len(behind)]
            if takes_slashes or (middle and "/" not in middle):
                return route
    return UNKNOWN


def named_in(path: str, route: Route) -> str:
    """Return what stands in a path in the place of its row's `{name}`; empty for a row without one."""
    before, brace, rest = route.path.partition("{")
    return path[len(before) : len(path) - len(rest.partition("}")[2])] if brace else ""
