"""The configuration of `routerctl start`: every value, its default with the reason, and what is a wrong value.

Names are those of the flags, with `_` for `-`. Where `vllm-router` 0.1.17 has the flag, name, meaning and
default are its own.
"""

from __future__ import annotations

import ipaddress
import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from shared.logs import LEVELS
from shared.table import Settings
from shared.version import __version__

POLICIES = ("round_robin", "random", "power_of_two")
PLANE_AFFINITIES = ("core", "none")
TLS_FILES = ("worker_ca_file", "worker_client_cert", "worker_client_key")
PATHS = ("runtime_dir", "admin_token_file", *TLS_FILES)
MAX_WORKER_URL = 1024
"""Characters."""
MIN_TOKEN = 16
"""Characters of the admin API's token: fewer can be guessed."""
MAX_TOKEN = 1024
LATER_POLICIES = ("cache_aware", "kv_aware", "consistent_hash", "sticky_least_loaded")
ADDRESSES = ("host", "admin_host", "prometheus_host")
PORTS = ("port", "admin_port", "prometheus_port")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "policy": POLICIES,
    "plane_affinity": PLANE_AFFINITIES,
    "log_level": LEVELS,
}
HEADER_NAME = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+"
SERVER_NAME = r"[A-Za-z0-9_.:-]{1,253}"
RANGES: Mapping[str, tuple[float, float]] = {
    "port": (1, 65535),
    "admin_port": (1, 65535),
    "prometheus_port": (1, 65535),
    "data_planes": (1, 256),
    "worker_startup_timeout_secs": (1, 86400),
    "worker_startup_check_interval": (1, 3600),
    "health_failure_threshold": (1, 1000),
    "health_success_threshold": (1, 1000),
    "health_check_timeout_secs": (1, 3600),
    "health_check_interval_secs": (1, 86400),
    "load_interval_ms": (50, 60000),
    "load_cpu_percent": (1, 100),
    "connect_timeout_secs": (0.01, 600),
    "request_timeout_secs": (0.1, 604800),
    "response_header_timeout_secs": (0, 604800),
    "stream_idle_timeout_secs": (0, 604800),
    "client_body_timeout_secs": (0, 604800),
    "client_write_timeout_secs": (0, 604800),
    "retry_max_retries": (0, 100),
    "retry_initial_backoff_ms": (0, 60000),
    "retry_max_backoff_ms": (0, 600000),
    "retry_backoff_multiplier": (1, 100),
    "retry_jitter_factor": (0, 1),
    "cb_failure_threshold": (1, 1000),
    "cb_success_threshold": (1, 1000),
    "cb_timeout_duration_secs": (1, 86400),
    "cb_window_duration_secs": (1, 86400),
    "max_ejection_percent": (0, 100),
    "max_payload_size": (1, 1 << 40),
    "drain_delay_secs": (0, 3600),
    "shutdown_grace_secs": (0, 86400),
}
"""The least and the largest number that can work, by field."""


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
    # 200 workers are read twice a second within it, 1,000 about every 2.5 s: still before a figure counts as unknown.
    load_cpu_percent: int = 15

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
            log_level=self.log_level,
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
        f"drain={config.drain_delay_secs:g} grace={config.shutdown_grace_secs:g} affinity={config.plane_affinity}"
    )


def join_address(host: str, port: int) -> str:
    """Return `host:port` as URLs write it: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Fault(NamedTuple):
    """A value that can not work. `text` names values by their flags; `value` is the wrong part of a list."""

    fields: tuple[str, ...]
    text: str
    value: str | None = None


def check(config: StartConfig) -> None:
    """Raise ConfigError for the first value that can not work. Names values by their flag."""
    for fault in faults(config):
        raise ConfigError(fault.text)


def faults(config: StartConfig) -> Iterator[Fault]:
    """Yield everything that can not work."""
    for field in ADDRESSES:
        yield from _address_faults(field, getattr(config, field))
    for field in PORTS:
        yield from _range_faults(field, getattr(config, field), *RANGES[field])
    for one, other in itertools.combinations(PORTS, 2):
        port = getattr(config, one)
        if port == getattr(config, other):
            text = f"{flag_of(one)} and {flag_of(other)} are both {port}; give them different ports"
            yield Fault((one, other), text)
    yield from _worker_url_faults(config.worker_urls)
    yield from _admin_token_faults(config)
    if config.runtime_dir == "":
        yield Fault(("runtime_dir",), "--runtime-dir is empty; write a folder's path, or leave the flag out")
    for field, choices in CHOICES.items():
        value = getattr(config, field)
        if value not in choices:
            later = " (vllm-router's, not in this version)" if field == "policy" and value in LATER_POLICIES else ""
            yield Fault((field,), f"{flag_of(field)} is {value!r}{later}; choose one of: {', '.join(choices)}")
    if not config.health_check_endpoint.startswith("/"):
        yield Fault(
            ("health_check_endpoint",),
            f"--health-check-endpoint is {config.health_check_endpoint!r}; write a path that starts with /",
        )
    for field, (low, high) in RANGES.items():
        if field not in PORTS:
            yield from _range_faults(field, getattr(config, field), low, high)
    for name in config.request_id_headers:
        if not re.fullmatch(HEADER_NAME, name):
            text = f"--request-id-headers has {name!r}; write header names, such as x-request-id"
            yield Fault(("request_id_headers",), text, name)
    yield from _tls_faults(config)


def _worker_url_faults(urls: tuple[str, ...]) -> Iterator[Fault]:
    seen: dict[tuple[str, str, int], str] = {}
    for url in urls:
        try:
            check_worker_url("--worker-urls", url)
        except ConfigError as error:
            yield Fault(("worker_urls",), str(error), url)
            continue
        before = seen.get(origin(url))
        if before is not None:
            what = f"{url} twice" if before == url else f"{before} and {url}, which are the same"
            yield Fault(("worker_urls",), f"--worker-urls names {what}; name each worker once", url)
        seen[origin(url)] = url


def _admin_token_faults(config: StartConfig) -> Iterator[Fault]:
    if config.admin_token_file is not None:
        try:
            read_admin_token("--admin-token-file", Path(config.admin_token_file))
        except ConfigError as error:
            yield Fault(("admin_token_file",), str(error))
    elif _is_address(config.admin_host) and not ipaddress.ip_address(config.admin_host).is_loopback:
        yield Fault(
            ("admin_host",),
            f"--admin-host is {config.admin_host}, which others can reach, and whoever reaches it commands the router; "
            "give a secret with --admin-token-file FILE, or listen on 127.0.0.1",
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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


def _tls_faults(config: StartConfig) -> Iterator[Fault]:
    name = config.worker_server_name
    if name is not None and not re.fullmatch(SERVER_NAME, name):
        yield Fault(
            ("worker_server_name",),
            f"--worker-server-name is {name!r}; write the name in the workers' certificates, such as vllm.internal",
        )
    files = {field: getattr(config, field) for field in TLS_FILES}
    empty = [field for field, path in files.items() if path == ""]
    for field in empty:
        yield Fault((field,), f"{flag_of(field)} is empty; write a file's path, or leave it out")
    if not empty and any(files.values()):
        # Only for those who use it: it takes a while to import.
        from shared.tls import TlsFileError, load, tls_config

        try:
            load(tls_config(config))
        except TlsFileError as error:
            text = str(error)
            yield Fault(tuple(field for field in TLS_FILES if flag_of(field) in text), text)


def flag_of(field: str) -> str:
    """Return the flag of a field of StartConfig."""
    return "--" + field.replace("_", "-")


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a checked URL: equal for URLs that mean the same server."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def check_worker_url(where: str, url: str) -> None:
    """Raise ConfigError unless `url` is `http(s)://host[:port]` with nothing behind it."""
    example = "write it as http://host:port"
    shown = _without_password(url)
    if not url.isprintable() or " " in url or len(url) > MAX_WORKER_URL:
        # It becomes part of fields, log lines and labels.
        raise ConfigError(f"{where} has {shown[:100]!r}: blanks, control characters or too many; {example}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        cause = "it can not be read" if "@" in url else str(error)
        raise ConfigError(f"{where} has {shown!r}: {cause}; {example}") from None
    if parts.scheme not in ("http", "https"):
        found = f"scheme {parts.scheme!r} is not http or https" if parts.scheme else "the scheme is missing"
        raise ConfigError(f"{where} has {shown!r}: {found}; {example}")
    if not parts.hostname:
        raise ConfigError(f"{where} has {shown!r}: the host is missing; {example}")
    if port == 0:
        raise ConfigError(f"{where} has {shown!r}: port 0 can not be reached; {example}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{where} has a URL with user or password before {parts.hostname!r}; {example}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"{where} has {shown!r}: a worker is a server, not a path; {example}")


def _without_password(url: str) -> str:
    """Return a URL as it may be shown: whatever stands before its host's @ is left out."""
    before, at, host = url.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme if slashes else ''}{slashes}***@{host}" if at else url


def _address_faults(field: str, host: str) -> Iterator[Fault]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        yield Fault(
            (field,),
            f"{flag_of(field)} is {host!r}; write an IP address to listen on, such as 127.0.0.1, or 0.0.0.0 for all",
        )


def _range_faults(field: str, value: float, low: float, high: float) -> Iterator[Fault]:
    if not low <= value <= high:
        yield Fault((field,), f"{flag_of(field)} is {value}; write a number from {low} to {high}")
