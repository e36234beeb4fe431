"""The metrics that planes count and the control plane exposes: names, help, labels and buckets, in one place."""

from __future__ import annotations

from typing import NamedTuple

LATENCY_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
"""Seconds: from a cached embedding (1 ms) to a long generation (5 min); +Inf is implied."""


class Metric(NamedTuple):
    """One family. `name` is without the `routerctl_` prefix and the suffix that its kind adds.

    `always` are labels of series that are shown before anything was counted: a series that begins with its first
    event hides that event from `rate()`.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    always: tuple[tuple[str, ...], ...] = ()


ACCEPTED = Metric("accepted_requests", "Client requests taken in.")
FINISHED = Metric("finished_requests", "Client requests answered to their last byte.")
ABORTED = Metric("aborted_requests", "Client requests ended by the client or by a failure in mid-answer.", ("by",))
REJECTED = Metric("rejected_requests", "Client requests that the router itself refused.", ("code",))
REQUESTS = Metric("requests", "Answers to clients by route, method and status.", ("route", "method", "status"))
ERRORS = Metric(
    "request_errors",
    "Requests that failed, by the side whose fault it was (client, router, worker) and the cause.",
    ("side", "code"),
    (
        ("client", "admin_not_on_main"),
        ("client", "bad_request"),
        ("client", "unreadable_body"),
        ("client", "unknown_rank"),
        ("client", "rank_refused"),
        ("client", "model_not_found"),
        ("client", "method_not_allowed"),
        ("client", "request_body_timeout"),
        ("client", "payload_too_large"),
        ("client", "write_timeout"),
        ("router", "control_plane_down"),
        ("router", "internal_error"),
        ("router", "no_worker_available"),
        ("router", "out_of_descriptors"),
        ("router", "plane_lost"),
        ("router", "shutdown"),
        ("worker", "bad_worker_answer"),
        ("worker", "no_worker_available"),
        ("worker", "truncated"),
        ("worker", "worker_stalled"),
        ("worker", "worker_timeout"),
        ("worker", "workers_unreachable"),
    ),
)
SPLICED = Metric(
    "spliced_requests",
    "Requests out of whose body a member was taken before a worker got it.",
    ("member",),
    (("kv_transfer_params",),),
)
DISAGGREGATED = Metric(
    "disaggregated_requests",
    "Prefills that a decode worker went on from (two-workers) or had to do again as nothing was handed over "
    "(recomputed), and requests done by one worker for want of a pair (one-worker) or as they are short (bypassed).",
    ("way",),
)
PAIR_BREAKERS = Metric(
    "pair_breaker_changes",
    "Times that a plane left out a prefill and a decode worker for each other (opened), tried them again (tried), and "
    "took them back (closed).",
    ("change",),
    (("opened",), ("tried",), ("closed",)),
)
RETRIES = Metric("retries", "Requests sent again to another worker.", ("cause",))
POLICY_OUTCOMES = Metric(
    "policy_decisions",
    "Choices by the policy and by what they rested on (docs/policies.md); `model` is one that has a policy of its own.",
    ("policy", "outcome", "pool", "model"),
)
WORKER_REQUESTS = Metric("worker_requests", "Requests sent to a worker.", ("worker",))
CONNECTIONS_OPENED = Metric("worker_connections_opened", "Connections opened to a worker.", ("worker",))

COUNTERS = (
    ACCEPTED,
    FINISHED,
    ABORTED,
    REJECTED,
    REQUESTS,
    ERRORS,
    SPLICED,
    DISAGGREGATED,
    PAIR_BREAKERS,
    RETRIES,
    POLICY_OUTCOMES,
    WORKER_REQUESTS,
    CONNECTIONS_OPENED,
)

LATENCY = Metric("request_duration_seconds", "From a request's arrival to its answer's last byte.", ("route",))
FIRST_BYTE = Metric("time_to_first_byte_seconds", "From a request's arrival to its answer's first byte.", ("route",))

HISTOGRAMS = (LATENCY, FIRST_BYTE)

KNOWN_ROUTES = frozenset(
    {
        "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages",
        "/v1/models", "/v1/rerank", "/v1/score", "/v1/audio/transcriptions", "/v1/audio/translations",
        "/tokenize", "/detokenize", "/pooling", "/classify", "/score", "/rerank", "/health", "/readiness",
        "/flush_cache", "/get_server_info", "/get_model_info", "/health_generate", "/list_workers", "/get_loads",
        "/finish_session", "/workers", "/add_worker", "/remove_worker",
        "/liveness", "/version", "/metrics", "/load", "/inference/v1/generate",
    }
)  # fmt: skip
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"


def route_label(path: str) -> str:
    """Return the `route` label of a path. Unknown paths share one label: clients must not grow the metrics."""
    return path if path in KNOWN_ROUTES else OTHER


def method_label(method: str) -> str:
    """Return the `method` label of a method; made-up ones share one label."""
    return method if method in KNOWN_METHODS else OTHER
