"""The configuration of `routerctl start`: every value, its default with the reason.

Names are those of the flags, with `_` for `-`. Where `vllm-router` 0.1.17 has the flag, name, meaning and
default are its own. What is a wrong value stands in `shared.config_faults`.
"""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path

import msgspec

from shared.model_rules import ModelRule
from shared.transfer import AUTO, BOOTSTRAP_PORT
from shared.worker_attributes import ConfiguredWorker

TLS_FILES = ("worker_ca_file", "worker_client_cert", "worker_client_key")
SERVER_TLS_FILES = ("tls_cert", "tls_key", "tls_client_ca")
ADMIN_TLS_FILES = ("admin_tls_cert", "admin_tls_key", "admin_tls_client_ca")
PROMETHEUS_TLS_FILES = ("prometheus_tls_cert", "prometheus_tls_key", "prometheus_tls_client_ca")
PATHS = (
    "runtime_dir",
    "log_dir",
    "admin_token_file",
    "prometheus_token_file",
    "api_key_file",
    "client_keys_file",
    "control_keys",
    "discovery_keys",
    "service_discovery_credentials",
    *TLS_FILES,
    *SERVER_TLS_FILES,
    *ADMIN_TLS_FILES,
    *PROMETHEUS_TLS_FILES,
)


class ConfigError(Exception):
    """Wrong values. The message has a line for each: where it stands, what is wrong, and what to write instead."""


def usable_cores() -> int:
    """How many cores this process may use: taskset's limit counts, and a container's (cgroup v2), rounded up."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, max(1, math.ceil(int(quota) / int(period))))


class StartConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a router is started with. Times in the unit that the name says, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 30000
    worker_urls: tuple[str, ...] = ()
    # One: vLLM balances between the ranks behind one URL by itself.
    intra_node_data_parallel_size: int = 1
    # Off: clients of vLLM and of vllm-router get the rank that they name.
    refuse_client_rank: bool = False
    # What is said of workers beside their URLs. Who is not in `worker_urls`, `prefill` or `decode` is none.
    workers: tuple[ConfiguredWorker, ...] = ()
    prefill: tuple[str, ...] = ()
    decode: tuple[str, ...] = ()
    vllm_pd_disaggregation: bool = False
    # vllm-router's, and what most fleets run.
    # What workers that register announce; without any, vllm-router's default.
    kv_connector: str = AUTO
    # None: workers are named. vllm-router has no default either, and vLLM's own proxy has 0.0.0.0:30001.
    vllm_discovery_address: str | None = None
    # None: the private networks. Registrations make the router connect to what they name.
    discovery_allow: tuple[str, ...] = ()
    # None: nobody registers with a key. A port of its own, as vLLM's own messages come without.
    discovery_curve_address: str | None = None
    discovery_keys: str | None = None
    # Off, 80, all namespaces, and an empty selector is no pod: vllm-router's.
    service_discovery: bool = False
    service_discovery_port: int = 80
    service_discovery_namespace: str | None = None
    selector: tuple[str, ...] = ()
    prefill_selector: tuple[str, ...] = ()
    decode_selector: tuple[str, ...] = ()
    # None: where a pod has those of its service account.
    service_discovery_credentials: str | None = None
    # On: workers with these connectors serve whole requests as well.
    pd_fallback: bool = True
    # Off: how much shorter than the transfer a prompt's computing is, differs from fleet to fleet.
    pd_bypass_tokens: int = 0
    # A long prompt behind others that are as long; a worker that does not answer at all is found out by then.
    prefill_timeout_secs: float = 300.0
    # Above vLLM's own limits on a transfer (30 s), and above any queue that is worth waiting in.
    decode_first_byte_timeout_secs: float = 120.0
    # Slower than any engine that people wait for, also a full one: what takes longer does not come.
    decode_token_timeout_secs: float = 1.0
    # What was computed before is not computed again; without prompts in common it balances by load.
    policy: str = "cache_aware"
    # None: as for whole requests, which is vllm-router's default.
    prefill_policy: str | None = None
    decode_policy: str | None = None
    # Empty: most fleets serve models that are alike.
    policies: dict[str, str] = {}
    # Empty: clients name models as workers do.
    models: dict[str, ModelRule] = {}
    # Off: a worker would answer 404 after a way through the fleet, and the router can say which models there are.
    forward_unknown_models: bool = False
    # Off, as there. Models are told apart in any case.
    enable_igw: bool = False
    # vLLM's own: the only one of them that is in requests, and that sees a full KV cache.
    load_formula: str = "vllm"
    # Not x-request-id and the like: clients make a new one for each request.
    session_headers: tuple[str, ...] = ("x-session-id", "x-user-id", "x-tenant-id")
    # A quarter more than others have is no hot spot yet, and few sessions have to move for it.
    session_max_load: float = 1.25
    session_ttl_secs: float = 7200.0
    cache_threshold: float = 0.3
    balance_abs_threshold: int = 64
    balance_rel_threshold: float = 1.5
    max_tree_size: int = 33_554_432
    eviction_interval_secs: int = 120
    # 200,000 blocks: what 30 workers with 8 MB of prompts each in their caches have, about.
    prefix_index_mb: int = 64

    # None: kv_aware has no token ids but those that clients give.
    tokenizer: tuple[str, ...] = ()
    # Empty: each worker is asked for its own.
    kv_event_source: tuple[str, ...] = ()
    kv_event_replay_source: tuple[str, ...] = ()
    # 0: whatever the events say. vllm-router has 16 here and is told by nobody when an engine has another one.
    kv_event_block_size: int = 0
    kv_event_model: str | None = None
    # Four million tokens in blocks of 16: more than the largest node has room for, 45 MB in the control plane.
    kv_index_max_blocks: int = 262_144
    router_temperature: float = 0.0
    kv_penalty_host: float = 0.8
    kv_penalty_external: float = 0.6
    kv_penalty_disk: float = 0.3
    # 0: off.
    kv_aware_session_affinity_ttl_secs: int = 0

    data_planes: int = msgspec.field(default_factory=usable_cores)
    # A quarter less CPU per request than with threads spread over cores (dataplane/placement.py).
    plane_affinity: str = "core"
    runtime_dir: str | None = None
    # None: all planes are on this host, and nothing of the control plane's talk with them leaves it.
    control_bind: str | None = None
    control_keys: str | None = None
    # None: plain HTTP, as vllm-router has it. With an authority only clients that have a certificate of it come in.
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    admin_host: str = "127.0.0.1"
    admin_port: int = 30080
    # None: whoever reaches the port, which then is on loopback, commands the router.
    admin_token_file: str | None = None
    admin_tls_cert: str | None = None
    admin_tls_key: str | None = None
    admin_tls_client_ca: str | None = None
    prometheus_host: str = "127.0.0.1"
    prometheus_port: int = 29000
    # None: whoever reaches the port reads the figures, as at vllm-router; it takes nothing.
    prometheus_token_file: str | None = None
    prometheus_tls_cert: str | None = None
    prometheus_tls_key: str | None = None
    prometheus_tls_client_ca: str | None = None
    # Off: whoever comes without dashboards for vllm-router has no use for a second set of names.
    metrics_compat: bool = False

    # A model of hundreds of GB takes minutes to load; a router that gave up earlier would have to be restarted.
    worker_startup_timeout_secs: int = 600
    # The longest pause between looks at start; the first ones are much shorter (controlplane/health.py).
    worker_startup_check_interval: int = 30
    health_failure_threshold: int = 3
    health_success_threshold: int = 2
    # A busy engine's /health takes over a second.
    health_check_timeout_secs: int = 5
    health_check_interval_secs: int = 60
    health_check_endpoint: str = "/health"
    # 0 and 0, as vllm-router has no such rules; mvllm's file sets them. Ten checks are mvllm's.
    health_min_success_rate: float = 0.0
    health_max_response_time_secs: float = 0.0
    health_window_size: int = 10
    disable_health_check: bool = False
    # Fresh enough to balance on.
    load_interval_ms: int = 500
    # 200 workers are read twice a second within it, 1,000 about every 2.5 s: still before a figure counts as unknown.
    load_cpu_percent: int = 15
    # On: in a large fleet an answer tells sooner than the next reading; asked at most twice a second per plane.
    no_load_header: bool = False

    # The TCP handshake crosses one data centre; 10 s outlasts two lost SYNs (1 s + 2 s + 4 s).
    connect_timeout_secs: float = 10.0
    # None: the system's authorities, no client certificate, the host of the worker's URL.
    worker_ca_file: str | None = None
    worker_client_cert: str | None = None
    worker_client_key: str | None = None
    worker_server_name: str | None = None
    # None: what a client sends as its key goes to the worker.
    api_key_file: str | None = None
    # None: whoever reaches the port uses the workers, as with vllm-router.
    client_keys_file: str | None = None
    # vllm-router's: empty is any page. None of them gets cookies or client certificates of a browser.
    cors_allowed_origins: tuple[str, ...] = ()
    # Nobody: what a client says of where it comes from is its own word.
    trusted_proxies: tuple[str, ...] = ()
    request_timeout_secs: float = 1800.0
    # Off: the head of an answer that is not streamed comes with its last token, as late as the request may last.
    response_header_timeout_secs: float = 0.0
    # An engine that preempts a sequence for want of KV cache may leave it for minutes.
    stream_idle_timeout_secs: float = 300.0
    # nginx's defaults for both: a client that is alive moves a byte a minute.
    client_body_timeout_secs: float = 60.0
    client_write_timeout_secs: float = 60.0
    # Attempts in all, the first one included, as vllm-router counts them.
    retry_max_retries: int = 5
    retry_initial_backoff_ms: int = 50
    retry_max_backoff_ms: int = 30000
    retry_backoff_multiplier: float = 1.5
    retry_jitter_factor: float = 0.2
    disable_retries: bool = False
    cb_failure_threshold: int = 10
    cb_success_threshold: int = 3
    cb_timeout_duration_secs: int = 60
    cb_window_duration_secs: int = 120
    disable_circuit_breaker: bool = False
    # The other half would have to take all of the load; taking out more makes an outage of a fault.
    max_ejection_percent: int = 50
    # Envoy judges every 10 s from 100 requests on; a worker of a language model has fewer, so three intervals are one.
    ejection_interval_secs: int = 30
    ejection_request_volume: int = 50
    # As Envoy's: 1.9 deviations can not be reached by one worker of fewer than five.
    ejection_min_workers: int = 5
    ejection_stdev_factor: float = 1.9
    ejection_base_time_secs: int = 30
    ejection_max_time_secs: int = 300
    # Off: a late first byte is load more often than a fault, and ejecting for load passes it on (outliers.py).
    ejection_latency_factor: float = 0.0
    ejection_latency_floor_ms: int = 1000
    disable_ejection: bool = False
    # As long as an ejection: prefix caches fill and kernels are compiled within it.
    slow_start_secs: float = 30.0
    max_payload_size: int = 536_870_912
    # Off: vllm-router passes any path on, and workers may have more than vLLM 0.32 has.
    strict_paths: bool = False
    # Wrong ones end a vLLM engine, and clients have no use for them.
    trust_kv_transfer_params: bool = False
    request_id_headers: tuple[str, ...] = ("x-request-id", "x-correlation-id", "x-trace-id", "request-id")
    # Off: where the workers are is no business of a client's.
    expose_worker: bool = False
    # Off: /health is vllm-router's, and vLLM's. mvllm's file turns it on.
    mvllm_compat: bool = False
    # Off, as it says more about the fleet.
    explain: bool = False
    # About 3 MB a plane; the request that somebody complains of a minute later is among them up to 70 a second.
    receipts: int = 4096
    # vllm-router has its endpoints about the fleet on its main port.
    no_admin_on_main: bool = False

    # 0: no limit. vllm-router's 32,768 are tokens that come back with the answers' heads, and limit nothing in effect;
    # here a limit is one over all planes, which each request is counted for.
    max_concurrent_requests: int = 0
    # None: most models have workers of their own, and those have queues.
    model_max_concurrent_requests: tuple[str, ...] = ()
    # 0: no limit. How many an engine takes well depends on the model and its GPU; too low a limit leaves it idle.
    worker_max_concurrent_requests: int = 0
    # Off: an engine that queues by itself answers as many in the end; who knows its capacity had better say it.
    adaptive_worker_limit: bool = False
    # 0: there is no such limit. vllm-router, without the flag, takes that on concurrent requests for a rate as well.
    rate_limit_tokens_per_second: float = 0.0
    # As many as one busy engine answers in some seconds: to wait longer than that is of little use to most clients.
    queue_size: int = 100
    queue_timeout_secs: float = 60.0
    # Work at a prompt is lost by it, which only operators with batch work know to be worth it.
    preempt_batch: bool = False

    # 0: whoever stops the router by hand does not want to wait for load balancers.
    drain_delay_secs: float = 0.0
    # Long enough for most answers to end, shorter than Kubernetes' 30 s before it kills.
    shutdown_grace_secs: float = 25.0
    # Twice a pause that a process must live through (a debugger, a snapshot); its share of new clients waits meanwhile.
    hung_plane_secs: float = 60.0
    log_level: str = "info"
    # JSON is for machines; whoever starts a router by hand reads the log.
    log_format: str = "text"
    # None: stderr only, which containers and systemd keep.
    log_dir: str | None = None
    # As vllm-router: 4xx and 5xx are logged, the others at log level debug. A line costs about as much as a chunk.
    access_log: str = "errors"
    # Prompts are the users' own.
    log_prompts: bool = False
    # Off: the terminal's last line is its own business, and most routers have no terminal.
    console: bool = False
    # None: nobody is told of requests' spans.
    otlp_traces_endpoint: str | None = None
    # vllm-router's; planes limit by themselves how many traces they begin.
    otel_sampling_ratio: float = 1.0
    # Off: a file that is saved while it is worked on may be right in form and wrong in content.
    watch_config: bool = False

    @property
    def longest_stop(self) -> float:
        """Seconds that a plane takes at most from SIGTERM to the end of its last request."""
        return self.drain_delay_secs + self.shutdown_grace_secs

    @property
    def prefill_urls(self) -> tuple[str, ...]:
        """The prefill workers without the ports behind them."""
        return tuple(text for text in self.prefill if not text.isdigit())

    @property
    def bootstrap_ports(self) -> dict[str, int]:
        """The port behind each URL of `prefill` that has one: that of Mooncake's bootstrap server."""
        pairs = itertools.pairwise(self.prefill)
        return {url: int(port) for url, port in pairs if port.isdigit() and not url.isdigit()}

    @property
    def bootstrap_port(self) -> int | None:
        """Where prefill workers' bootstrap servers are unless they tell; None where nobody is asked for one."""
        return BOOTSTRAP_PORT if self.kv_connector == "mooncake" else None

    @property
    def all_urls(self) -> tuple[str, ...]:
        """Every worker, whatever its role."""
        return (*self.worker_urls, *self.prefill_urls, *self.decode)

    @property
    def takes_registrations(self) -> bool:
        """Whether workers can register by themselves."""
        return self.vllm_discovery_address is not None or self.discovery_curve_address is not None

    @property
    def finds_workers(self) -> bool:
        """Whether workers can come that are named nowhere."""
        return self.takes_registrations or self.service_discovery

    @property
    def is_disaggregated(self) -> bool:
        """Whether there is prefill/decode."""
        told = self.vllm_pd_disaggregation or self.vllm_discovery_address is not None
        return told or bool(self.prefill or self.decode or self.prefill_selector or self.decode_selector)

    def with_absolute_paths(self) -> StartConfig:
        """Return the same with paths that mean the same wherever a process of the router was started."""
        paths = {name: _absolute(getattr(self, name)) for name in PATHS}
        return msgspec.structs.replace(self, tokenizer=tuple(map(_absolute_folder, self.tokenizer)), **paths)


def _absolute(path: str | None) -> str | None:
    return str(Path(path).absolute()) if path else path


def _absolute_folder(text: str) -> str:
    model, separator, folder = text.rpartition("=")
    return f"{model}{separator}{Path(folder).absolute()}"


def join_address(host: str, port: int) -> str:
    """Return `host:port` as URLs write it: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def scheme(cert: str | None) -> str:
    """Return how URLs of a port begin that has this certificate."""
    return "http" if cert is None else "https"


def flag_of(field: str) -> str:
    """Return the flag of a field of StartConfig."""
    return "--" + field.replace("_", "-")
