"""The metrics that planes count and the control plane exposes: names, help, labels and buckets, in one place."""

from __future__ import annotations

from typing import NamedTuple

LATENCY_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0,
    60.0, 120.0, 240.0, 480.0, 960.0, 1920.0,
)  # fmt: skip
"""Seconds; +Inf is implied. From 0.3 on they are those of vLLM's `e2e_request_latency_seconds`, so that the router's
can be held against the engines'; those below are for embeddings and for answers that never came to an engine."""
FIRST_TOKEN_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
"""vLLM's of `time_to_first_token_seconds`."""
TOKEN_GAP_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
)  # fmt: skip
"""vLLM's of `inter_token_latency_seconds`, and three below for small models."""
CONNECT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From one rack to the default of --connect-timeout-secs; a lost SYN shows at 1 s and 3 s."""

QUEUE_WAIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 600.0)
"""Up to ten times the default of --queue-timeout-secs."""
LOOP_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""From the timers' own resolution to a plane that serves nobody."""


class Metric(NamedTuple):
    """One family. `name` is without the `routerctl_` prefix and the suffix that its kind adds.

    `always` are labels of series that are shown before anything was counted: a series that begins with its first
    event hides that event from `rate()`. `buckets` are upper bounds of a histogram, in seconds; one without any is a
    count and a sum. Those of workers are shown so, too, as 20 series for each worker are many; their buckets are for
    the control plane.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    always: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()


ACCEPTED = Metric("accepted_requests", "Client requests taken in.")
FINISHED = Metric("finished_requests", "Client requests answered to their last byte.")
ABORTED = Metric(
    "aborted_requests",
    "Client requests ended by the client or by a failure in mid-answer, by the phase that they were in: "
    "receiving, queued, connecting, prefilling, fetching, waiting, answering, blocked or unknown.",
    ("by", "phase"),
)
REJECTED = Metric("rejected_requests", "Client requests that the router itself refused.", ("code",))
REQUESTS = Metric(
    "requests",
    "Client requests that have ended, by the status that the client got (none: it got no answer) and the cause where "
    "it was no whole answer.",
    ("route", "method", "model", "status", "cause"),
)
ERRORS = Metric(
    "request_errors",
    "Requests that failed, by the side whose fault it was (client, router, worker) and the cause.",
    ("side", "code"),
    (
        ("client", "adapter_for_nobody"),
        ("client", "admin_not_on_main"),
        ("client", "bad_adapter"),
        ("client", "bad_request"),
        ("client", "expired_api_key"),
        ("client", "from_a_web_page"),
        ("client", "bad_queue_timeout"),
        ("client", "class_not_allowed"),
        ("client", "unknown_class"),
        ("client", "invalid_api_key"),
        ("client", "missing_api_key"),
        ("client", "model_not_allowed"),
        ("client", "origin_not_allowed"),
        ("client", "unreadable_body"),
        ("client", "unknown_rank"),
        ("client", "rank_refused"),
        ("client", "model_not_found"),
        ("client", "method_not_allowed"),
        ("client", "request_body_timeout"),
        ("client", "payload_too_large"),
        ("client", "unknown_path"),
        ("client", "rate_limit_exceeded"),
        ("client", "write_timeout"),
        ("router", "control_plane_down"),
        ("router", "internal_error"),
        ("router", "loop_detected"),
        ("router", "no_worker_available"),
        ("router", "out_of_descriptors"),
        ("router", "over_capacity"),
        ("router", "plane_lost"),
        ("router", "queue_timeout"),
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
    "Requests in whose body a member was taken out (kv_transfer_params) or replaced (model) before a worker got it.",
    ("member",),
    (("kv_transfer_params",), ("model",)),
)
ARM_REQUESTS = Metric(
    "model_arm_requests",
    "Requests for a name of [models] that have ended, by the arm that took them and the class of the status that the "
    "client got (none: it got no answer).",
    ("name", "arm", "status"),
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
RETRIES_DENIED = Metric(
    "retries_denied",
    "Failed attempts after which there was none more although the failure allowed it, by what was used up: the "
    "attempts of the request or the plane's retry budget.",
    ("reason",),
    (("attempts",), ("budget",)),
)
PROMPT_TOKENS = Metric("prompt_tokens", "Tokens of prompts, as workers told in `usage`.", ("model",))
OUTPUT_TOKENS = Metric("output_tokens", "Tokens generated, as workers told in `usage`.", ("model",))
CACHED_TOKENS = Metric(
    "cached_prompt_tokens", "Tokens of prompts that engines had cached, where `usage` told it.", ("model",)
)
WORKER_SECONDS = Metric(
    "worker_seconds",
    "Time that workers had requests, from the first choice of one to the end of the request, by model.",
    ("model",),
)
USAGE_TOLD = Metric("requests_with_usage", "Answers whose `usage` was read: those the token sums are of.", ("model",))
KEY_REQUESTS = Metric(
    "client_key_requests",
    "Requests of a client's key that have ended, by the status that the client got (none: it got no answer).",
    ("key", "status"),
)
KEY_PROMPT_TOKENS = Metric("client_key_prompt_tokens", "Tokens of prompts of a client's key.", ("key",))
KEY_OUTPUT_TOKENS = Metric("client_key_output_tokens", "Tokens generated for a client's key.", ("key",))
POLICY_PROMPT_TOKENS = Metric(
    "policy_prompt_tokens", "Tokens of prompts that a policy chose a worker for by what is cached where.", ("policy",)
)
POLICY_CACHED_TOKENS = Metric(
    "policy_cached_tokens", "Tokens of those that the chosen worker had cached, by the policy's account.", ("policy",)
)
POLICY_OUTCOMES = Metric(
    "policy_decisions",
    "Choices by the policy and by what they rested on (docs/policies.md); `model` is one that has a policy of its own.",
    ("policy", "outcome", "pool", "model"),
)
WORKER_REQUESTS = Metric("worker_requests", "Requests sent to a worker.", ("worker",))
WORKER_FAILURES = Metric(
    "worker_failures", "What planes saw that speaks against a worker, by kind.", ("worker", "kind")
)
CONNECTIONS_OPENED = Metric("worker_connections_opened", "Connections opened to a worker.", ("worker",))
LOG_LINES_DROPPED = Metric("log_lines_dropped", "Lines of planes' logs for which there was no room.")
TRACES = Metric(
    "traces",
    "Traces of requests (--otlp-traces-endpoint): exported, failed at the collector, dropped for want of room, or "
    "passed_over as there were more than a plane traces in a second.",
    ("outcome",),
)
PLANE_RESYNCS = Metric("plane_resyncs", "Times a plane had to ask for the whole table.", ("plane",))
PLANE_KV_RESYNCS = Metric("plane_kv_resyncs", "Times a plane had to ask for all that an engine holds.", ("plane",))

COUNTERS = (
    ACCEPTED,
    FINISHED,
    ABORTED,
    REJECTED,
    REQUESTS,
    ERRORS,
    SPLICED,
    ARM_REQUESTS,
    DISAGGREGATED,
    PAIR_BREAKERS,
    RETRIES,
    RETRIES_DENIED,
    PROMPT_TOKENS,
    OUTPUT_TOKENS,
    CACHED_TOKENS,
    USAGE_TOLD,
    WORKER_SECONDS,
    KEY_REQUESTS,
    KEY_PROMPT_TOKENS,
    KEY_OUTPUT_TOKENS,
    POLICY_OUTCOMES,
    POLICY_PROMPT_TOKENS,
    POLICY_CACHED_TOKENS,
    WORKER_REQUESTS,
    WORKER_FAILURES,
    CONNECTIONS_OPENED,
    LOG_LINES_DROPPED,
    TRACES,
    PLANE_RESYNCS,
    PLANE_KV_RESYNCS,
)

LATENCY = Metric(
    "request_duration_seconds",
    "From a request's arrival to its answer's last byte.",
    ("route", "model"),
    buckets=LATENCY_BUCKETS,
)
FIRST_BYTE = Metric(
    "time_to_first_byte_seconds",
    "From a request's arrival to the first byte of its answer's body.",
    ("route",),
    buckets=LATENCY_BUCKETS,
)
FIRST_TOKEN = Metric(
    "time_to_first_token_seconds",
    "From a request's arrival to the first event of its stream.",
    ("model",),
    buckets=FIRST_TOKEN_BUCKETS,
)
TOKEN_GAP = Metric(
    "inter_token_latency_seconds",
    "Time between two tokens of a stream: each stream's mean, counted once for each of its gaps.",
    ("model",),
    buckets=TOKEN_GAP_BUCKETS,
)
STREAM_PAUSE = Metric(
    "stream_longest_pause_seconds",
    "The longest time between two parts of a stream, of each stream.",
    ("model",),
    buckets=TOKEN_GAP_BUCKETS,
)
CONNECT = Metric("connect_seconds", "Time to open a connection to a worker.", buckets=CONNECT_BUCKETS)
LEG = Metric(
    "leg_duration_seconds",
    "Time that a prefill or a decode worker took for its half of a request.",
    ("leg",),
    buckets=LATENCY_BUCKETS,
)
ARM_DURATION = Metric(
    "model_arm_duration_seconds",
    "From the arrival of a request for a name of [models] to its answer's last byte, by the arm that took it.",
    ("name", "arm"),
    buckets=LATENCY_BUCKETS,
)
QUEUE_WAIT = Metric(
    "queue_wait_seconds",
    "Time that requests waited for their turn, of those that waited and were sent on.",
    ("model",),
    buckets=QUEUE_WAIT_BUCKETS,
)
WORKER_DURATION = Metric(
    "worker_request_duration_seconds", "From sending a request to a worker to its answer's last byte.", ("worker",)
)
WORKER_FIRST_BYTE = Metric(
    "worker_time_to_first_byte_seconds",
    "From sending a request to a worker to the first part of its answer, where that came in parts.",
    ("worker",),
    buckets=FIRST_TOKEN_BUCKETS,
)
LOOP_LAG = Metric(
    "event_loop_lag_seconds",
    "How much later than it asked for a plane's event loop comes to something, ten times a second.",
    buckets=LOOP_LAG_BUCKETS,
)

HISTOGRAMS = (
    LATENCY,
    FIRST_BYTE,
    FIRST_TOKEN,
    TOKEN_GAP,
    STREAM_PAUSE,
    CONNECT,
    LEG,
    ARM_DURATION,
    QUEUE_WAIT,
    WORKER_DURATION,
    WORKER_FIRST_BYTE,
    LOOP_LAG,
)

MAX_MODELS = 100
"""Values of the `model` label besides `other` that one plane gives out, and that sums over planes have."""
MAX_ARMS = 100
"""Pairs of the labels `name` and `arm` besides `other`, likewise."""

MAX_CLIENT_KEYS = 200
"""The same of the `key` label: a Prometheus takes some thousands of series of one router well."""

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"


def method_label(method: str) -> str:
    """Return the `method` label of a method; made-up ones share one label."""
    return method if method in KNOWN_METHODS else OTHER
