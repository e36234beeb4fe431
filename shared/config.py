"""The configuration of `routerctl start`: every value, its default with the reason, and what is a wrong value.

Names are those of the flags, with `_` for `-`. Where `vllm-router` 0.1.17 has the flag, name, meaning and
default are its own.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from shared.logs import LEVELS
from shared.table import Settings
from shared.version import __version__

POLICIES = ("round_robin", "random", "power_of_two")
PLANE_AFFINITIES = ("core", "none")
PATHS = ("runtime_dir", "admin_token_file", "worker_ca_file", "worker_client_cert", "worker_client_key")
MAX_WORKER_URL = 1024
"""Characters."""
MIN_TOKEN = 16
"""Characters of the admin API's token: fewer can be guessed."""
MAX_TOKEN = 1024
LATER_POLICIES = ("cache_aware", "kv_aware", "consistent_hash", "sticky_least_loaded")


class ConfigError(Exception):
    """A wrong value. The message is one line: where it stands, what is wrong, and what to write instead."""


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
    policy: str = "round_robin"

    data_planes: int = msgspec.field(default_factory=usable_cores)
    # A quarter less CPU per request than with threads spread over cores (dataplane/placement.py).
    plane_affinity: str = "core"
    runtime_dir: str | None = None
    admin_host: str = "127.0.0.1"
    admin_port: int = 30080
    # None: whoever reaches the port, which then is on loopback, commands the router.
    admin_token_file: str | None = None
    prometheus_host: str = "127.0.0.1"
    prometheus_port: int = 29000

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
    # Fresh enough to balance on.
    load_interval_ms: int = 500
    # 500 workers are read twice a second within it; a larger fleet is read less often.
    load_cpu_percent: int = 20

    # The TCP handshake crosses one data centre; 10 s outlasts two lost SYNs (1 s + 2 s + 4 s).
    connect_timeout_secs: float = 10.0
    # None: the system's authorities, no client certificate, the host of the worker's URL.
    worker_ca_file: str | None = None
    worker_client_cert: str | None = None
    worker_client_key: str | None = None
    worker_server_name: str | None = None
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
    max_payload_size: int = 536_870_912
    # Wrong ones end a vLLM engine, and clients have no use for them.
    trust_kv_transfer_params: bool = False
    request_id_headers: tuple[str, ...] = ("x-request-id", "x-correlation-id", "x-trace-id", "request-id")
    # Off: where the workers are is no business of a client's.
    expose_worker: bool = False
    # vllm-router has its endpoints about the fleet on its main port.
    no_admin_on_main: bool = False

    # 0: whoever stops the router by hand does not want to wait for load balancers.
    drain_delay_secs: float = 0.0
    # Long enough for most answers to end, shorter than Kubernetes' 30 s before it kills.
    shutdown_grace_secs: float = 25.0
    log_level: str = "info"

    @property
    def longest_stop(self) -> float:
        """Seconds that a plane takes at most from SIGTERM to the end of its last request."""
        return self.drain_delay_secs + self.shutdown_grace_secs

    def settings(self) -> Settings:
        """Return the part that travels in the routing table."""
        return Settings(
            policy=self.policy,
            data_planes=self.data_planes,
            connect_timeout=float(self.connect_timeout_secs),
            request_timeout=float(self.request_timeout_secs),
            response_header_timeout=float(self.response_header_timeout_secs),
            stream_idle_timeout=float(self.stream_idle_timeout_secs),
            client_body_timeout=float(self.client_body_timeout_secs),
            client_write_timeout=float(self.client_write_timeout_secs),
            max_attempts=1 if self.disable_retries else max(1, self.retry_max_retries),
            retry_initial_backoff=self.retry_initial_backoff_ms / 1000,
            retry_max_backoff=self.retry_max_backoff_ms / 1000,
            retry_backoff_multiplier=self.retry_backoff_multiplier,
            retry_jitter_factor=self.retry_jitter_factor,
            circuit_breaker=not self.disable_circuit_breaker,
            cb_failure_threshold=self.cb_failure_threshold,
            cb_success_threshold=self.cb_success_threshold,
            cb_timeout=float(self.cb_timeout_duration_secs),
            cb_window=float(self.cb_window_duration_secs),
            max_ejection_percent=self.max_ejection_percent,
            max_payload_size=self.max_payload_size,
            trust_kv_transfer_params=self.trust_kv_transfer_params,
            request_id_headers=tuple(name.lower() for name in self.request_id_headers),
            worker_ca_file=self.worker_ca_file,
            worker_client_cert=self.worker_client_cert,
            worker_client_key=self.worker_client_key,
            worker_server_name=self.worker_server_name,
            expose_worker=self.expose_worker,
            # Whoever gives a secret wants nobody to command the router without it.
            admin_on_main=not self.no_admin_on_main and self.admin_token_file is None,
        )

    def with_absolute_paths(self) -> StartConfig:
        """Return the same with paths that mean the same wherever a process of the router was started."""
        return msgspec.structs.replace(self, **{name: _absolute(getattr(self, name)) for name in PATHS})


def _absolute(path: str | None) -> str | None:
    return str(Path(path).absolute()) if path else path


def plane_fingerprint(config: StartConfig) -> str:
    """Return what a plane takes only at its start. A plane is adopted when its own is equal, else replaced."""
    return (
        f"{__version__} {join_address(config.host, config.port)} "
        f"drain={config.drain_delay_secs:g} grace={config.shutdown_grace_secs:g} log={config.log_level} "
        f"affinity={config.plane_affinity}"
    )


def join_address(host: str, port: int) -> str:
    """Return `host:port` as URLs write it: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check(config: StartConfig) -> None:
    """Raise ConfigError for the first value that can not work. Names values by their flag."""
    _check_address("--host", config.host)
    _check_address("--admin-host", config.admin_host)
    _check_address("--prometheus-host", config.prometheus_host)
    for flag, port in (
        ("--port", config.port),
        ("--admin-port", config.admin_port),
        ("--prometheus-port", config.prometheus_port),
    ):
        _check_range(flag, port, 1, 65535)
    if config.port in (config.admin_port, config.prometheus_port):
        other = "--admin-port" if config.port == config.admin_port else "--prometheus-port"
        raise ConfigError(f"--port and {other} are both {config.port}; give them different ports")
    if config.admin_port == config.prometheus_port:
        raise ConfigError(f"--admin-port and --prometheus-port are both {config.admin_port}; give them different ports")
    seen: dict[tuple[str, str, int], str] = {}
    for url in config.worker_urls:
        check_worker_url("--worker-urls", url)
        before = seen.get(origin(url))
        if before is not None:
            what = f"{url} twice" if before == url else f"{before} and {url}, which are the same"
            raise ConfigError(f"--worker-urls names {what}; name each worker once")
        seen[origin(url)] = url
    _check_admin_token(config)
    if config.runtime_dir == "":
        raise ConfigError("--runtime-dir is empty; write a folder's path, or leave the flag out")
    if config.policy not in POLICIES:
        later = " (vllm-router's, not in this version)" if config.policy in LATER_POLICIES else ""
        raise ConfigError(f"--policy is {config.policy!r}{later}; choose one of: {', '.join(POLICIES)}")
    if config.plane_affinity not in PLANE_AFFINITIES:
        raise ConfigError(
            f"--plane-affinity is {config.plane_affinity!r}; choose one of: {', '.join(PLANE_AFFINITIES)}"
        )
    if config.log_level not in LEVELS:
        raise ConfigError(f"--log-level is {config.log_level!r}; choose one of: {', '.join(LEVELS)}")
    if not config.health_check_endpoint.startswith("/"):
        raise ConfigError(
            f"--health-check-endpoint is {config.health_check_endpoint!r}; write a path that starts with /"
        )
    for flag, number, low, high in (
        ("--data-planes", config.data_planes, 1, 256),
        ("--worker-startup-timeout-secs", config.worker_startup_timeout_secs, 1, 86400),
        ("--worker-startup-check-interval", config.worker_startup_check_interval, 1, 3600),
        ("--health-failure-threshold", config.health_failure_threshold, 1, 1000),
        ("--health-success-threshold", config.health_success_threshold, 1, 1000),
        ("--health-check-timeout-secs", config.health_check_timeout_secs, 1, 3600),
        ("--health-check-interval-secs", config.health_check_interval_secs, 1, 86400),
        ("--load-interval-ms", config.load_interval_ms, 50, 60000),
        ("--load-cpu-percent", config.load_cpu_percent, 1, 100),
        ("--connect-timeout-secs", config.connect_timeout_secs, 0.01, 600),
        ("--request-timeout-secs", config.request_timeout_secs, 0.1, 604800),
        ("--response-header-timeout-secs", config.response_header_timeout_secs, 0, 604800),
        ("--stream-idle-timeout-secs", config.stream_idle_timeout_secs, 0, 604800),
        ("--client-body-timeout-secs", config.client_body_timeout_secs, 0, 604800),
        ("--client-write-timeout-secs", config.client_write_timeout_secs, 0, 604800),
        ("--retry-max-retries", config.retry_max_retries, 0, 100),
        ("--retry-initial-backoff-ms", config.retry_initial_backoff_ms, 0, 60000),
        ("--retry-max-backoff-ms", config.retry_max_backoff_ms, 0, 600000),
        ("--retry-backoff-multiplier", config.retry_backoff_multiplier, 1, 100),
        ("--retry-jitter-factor", config.retry_jitter_factor, 0, 1),
        ("--cb-failure-threshold", config.cb_failure_threshold, 1, 1000),
        ("--cb-success-threshold", config.cb_success_threshold, 1, 1000),
        ("--cb-timeout-duration-secs", config.cb_timeout_duration_secs, 1, 86400),
        ("--cb-window-duration-secs", config.cb_window_duration_secs, 1, 86400),
        ("--max-ejection-percent", config.max_ejection_percent, 0, 100),
        ("--max-payload-size", config.max_payload_size, 1, 1 << 40),
        ("--drain-delay-secs", config.drain_delay_secs, 0, 3600),
        ("--shutdown-grace-secs", config.shutdown_grace_secs, 0, 86400),
    ):
        _check_range(flag, number, low, high)
    for name in config.request_id_headers:
        if not name.isascii() or not name or not all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name):
            raise ConfigError(f"--request-id-headers has {name!r}; write header names, such as x-request-id")
    _check_tls(config)


def _check_admin_token(config: StartConfig) -> None:
    if config.admin_token_file is not None:
        read_admin_token("--admin-token-file", Path(config.admin_token_file))
    elif not ipaddress.ip_address(config.admin_host).is_loopback:
        raise ConfigError(
            f"--admin-host is {config.admin_host}, which others can reach, and whoever reaches it commands the router; "
            "give a secret with --admin-token-file FILE, or listen on 127.0.0.1"
        )


def read_admin_token(where: str, path: Path) -> str:
    """Return the token in a file. Raises ConfigError, which never holds any of it."""
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN + 2).strip()
    except OSError as error:
        raise ConfigError(f"{where} {path}: {error.strerror}; give the path of a readable file") from None
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN or not re.fullmatch(rb"[!-~]+", token):
        raise ConfigError(
            f"{where} {path} must hold one line of {MIN_TOKEN} to {MAX_TOKEN} printable ASCII characters without a "
            "blank; make one with: openssl rand -hex 32"
        )
    return token.decode()


def _check_tls(config: StartConfig) -> None:
    name = config.worker_server_name
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_.:-]{1,253}", name):
        raise ConfigError(
            f"--worker-server-name is {name!r}; write the name in the workers' certificates, such as vllm.internal"
        )
    files = (config.worker_ca_file, config.worker_client_cert, config.worker_client_key)
    for flag, path in zip(("--worker-ca-file", "--worker-client-cert", "--worker-client-key"), files, strict=True):
        if path == "":
            raise ConfigError(f"{flag} is empty; write a file's path, or leave it out")
    if any(files):
        # Only for those who use it: it takes a while to import.
        from shared.tls import TlsFileError, load, tls_config

        try:
            load(tls_config(config))
        except TlsFileError as error:
            raise ConfigError(str(error)) from None


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a checked URL: equal for URLs that mean the same server."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def check_worker_url(where: str, url: str) -> None:
    """Raise ConfigError unless `url` is `http(s)://host[:port]` with nothing behind it."""
    example = "write it as http://host:port"
    if not url.isprintable() or " " in url or len(url) > MAX_WORKER_URL:
        # It becomes part of fields, log lines and labels.
        raise ConfigError(f"{where} has {url[:100]!r}: blanks, control characters or too many; {example}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{where} has {url!r}: {error}; {example}") from error
    if parts.scheme not in ("http", "https"):
        found = f"scheme {parts.scheme!r} is not http or https" if parts.scheme else "the scheme is missing"
        raise ConfigError(f"{where} has {url!r}: {found}; {example}")
    if not parts.hostname:
        raise ConfigError(f"{where} has {url!r}: the host is missing; {example}")
    if port == 0:
        raise ConfigError(f"{where} has {url!r}: port 0 can not be reached; {example}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{where} has a URL with user or password before {parts.hostname!r}; {example}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"{where} has {url!r}: a worker is a server, not a path; {example}")


def _check_address(flag: str, host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(
            f"{flag} is {host!r}; write an IP address to listen on, such as 127.0.0.1, or 0.0.0.0 for all"
        ) from None


def _check_range(flag: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{flag} is {value}; write a number from {low} to {high}")
