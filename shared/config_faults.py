"""What is a wrong value in the configuration: ranges, choices, and what does not fit together."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.admin_token import read_admin_token
from shared.config import TLS_FILES, ConfigError, StartConfig, flag_of
from shared.config_access import access_faults
from shared.config_fields import nearest
from shared.config_pd import pd_faults
from shared.discovery_config import discovery_problems
from shared.fault import Fault
from shared.kubernetes_config import kubernetes_faults
from shared.kv_config import kv_problems
from shared.limits import model_limits
from shared.logs import FORMATS, LEVELS
from shared.policy_names import policy_fault
from shared.remote_address import RemoteAddress, parse_remote_address
from shared.traces_config import endpoint_fault
from shared.worker_attributes import MAX_LIMIT
from shared.worker_key import read_worker_key
from shared.worker_rank import MAX_RANKS
from shared.worker_url import check_worker_url, origin

LOAD_FORMULAS = ("vllm", "mvllm", "mvllm-half")
PLANE_AFFINITIES = ("core", "none")
ACCESS_LOGS = ("off", "errors", "all")
URL_LISTS = ("worker_urls", "prefill", "decode")
ADDRESSES = ("host", "admin_host", "prometheus_host")
PORTS = ("port", "admin_port", "prometheus_port")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "load_formula": LOAD_FORMULAS,
    "plane_affinity": PLANE_AFFINITIES,
    "log_level": LEVELS,
    "log_format": FORMATS,
    "access_log": ACCESS_LOGS,
}
POLICY_FIELDS = ("policy", "prefill_policy", "decode_policy")
HEADER_LISTS = ("session_headers", "request_id_headers")
HEADER_NAME = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+"
SERVER_NAME = r"[A-Za-z0-9_.:-]{1,253}"
RANGES: Mapping[str, tuple[float, float]] = {
    "port": (1, 65535),
    "admin_port": (1, 65535),
    "prometheus_port": (1, 65535),
    "service_discovery_port": (1, 65535),
    "data_planes": (1, 256),
    "intra_node_data_parallel_size": (1, MAX_RANKS),
    "worker_startup_timeout_secs": (1, 86400),
    "worker_startup_check_interval": (1, 3600),
    "health_failure_threshold": (1, 1000),
    "health_success_threshold": (1, 1000),
    "health_check_timeout_secs": (1, 3600),
    "health_check_interval_secs": (1, 86400),
    "health_min_success_rate": (0, 1),
    "health_max_response_time_secs": (0, 3600),
    "health_window_size": (1, 1000),
    "session_max_load": (1, 100),
    "session_ttl_secs": (1, 31_536_000),
    "cache_threshold": (0, 1),
    "balance_abs_threshold": (0, 1_000_000),
    "balance_rel_threshold": (1, 1000),
    "max_tree_size": (1, 1 << 40),
    "eviction_interval_secs": (1, 86400),
    "prefix_index_mb": (1, 65536),
    "load_interval_ms": (50, 60000),
    "load_cpu_percent": (1, 100),
    "kv_event_block_size": (0, 65536),
    "kv_index_max_blocks": (1, 1 << 26),
    "router_temperature": (0, 1000),
    "kv_penalty_host": (0, 1),
    "kv_penalty_external": (0, 1),
    "kv_penalty_disk": (0, 1),
    "kv_aware_session_affinity_ttl_secs": (0, 31_536_000),
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
    "ejection_interval_secs": (1, 3600),
    "ejection_request_volume": (1, 1_000_000),
    "ejection_min_workers": (2, 10_000),
    "ejection_stdev_factor": (0, 100),
    "ejection_base_time_secs": (1, 86400),
    "ejection_max_time_secs": (1, 86400),
    "ejection_latency_factor": (0, 1000),
    "ejection_latency_floor_ms": (0, 600_000),
    "slow_start_secs": (0, 3600),
    "pd_bypass_tokens": (0, 1_000_000),
    "prefill_timeout_secs": (0, 604800),
    "decode_first_byte_timeout_secs": (0, 604800),
    "decode_token_timeout_secs": (0, 3600),
    "max_payload_size": (1, 1 << 40),
    "receipts": (0, 1_000_000),
    "otel_sampling_ratio": (0, 1),
    "hung_plane_secs": (0, 86400),
    "max_concurrent_requests": (0, 1_000_000_000),
    "worker_max_concurrent_requests": (0, MAX_LIMIT),
    "rate_limit_tokens_per_second": (0, 1_000_000_000),
    "queue_size": (0, 1_000_000),
    "queue_timeout_secs": (0.001, 86400),
    "drain_delay_secs": (0, 3600),
    "shutdown_grace_secs": (0, 86400),
}
"""The least and the largest number that can work, by field."""


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
    yield from _worker_url_faults(config)
    yield from pd_faults(config)
    yield from _control_faults(config)
    yield from _token_faults(config)
    if config.api_key_file is not None:
        try:
            read_worker_key("--api-key-file", Path(config.api_key_file))
        except ConfigError as error:
            yield Fault(("api_key_file",), str(error))
    yield from access_faults(config)
    if config.runtime_dir == "":
        yield Fault(("runtime_dir",), "--runtime-dir is empty; write a folder's path, or leave the flag out")
    for field, choices in CHOICES.items():
        value = getattr(config, field)
        if value not in choices:
            near = nearest(value, choices)
            hint = f"did you mean {near}? Choose" if near else "choose"
            yield Fault((field,), f"{flag_of(field)} is {value!r}; {hint} one of: {', '.join(choices)}")
    for field in POLICY_FIELDS:
        policy = getattr(config, field)
        if policy is not None and (fault := policy_fault(policy)) is not None:
            yield Fault((field,), f"{flag_of(field)} {fault}")
    if not config.health_check_endpoint.startswith("/"):
        yield Fault(
            ("health_check_endpoint",),
            f"--health-check-endpoint is {config.health_check_endpoint!r}; write a path that starts with /",
        )
    for field, (low, high) in RANGES.items():
        if field not in PORTS:
            yield from _range_faults(field, getattr(config, field), low, high)
    for field in HEADER_LISTS:
        for name in getattr(config, field):
            if not re.fullmatch(HEADER_NAME, name):
                text = f"{flag_of(field)} has {name!r}; write header names, such as x-request-id"
                yield Fault((field,), text, name)
    endpoint = config.otlp_traces_endpoint
    if endpoint is not None and (wrong := endpoint_fault(endpoint)) is not None:
        yield Fault(("otlp_traces_endpoint",), f"--otlp-traces-endpoint {wrong}")
    yield from _tls_faults(config)
    try:
        model_limits(config.model_max_concurrent_requests)
    except ValueError as error:
        yield Fault(("model_max_concurrent_requests",), f"--model-max-concurrent-requests {error}")
    for fields, said, part in discovery_problems(config):
        yield Fault(fields, said, part)
    yield from kubernetes_faults(config)
    for field, text, value in kv_problems(config):
        yield Fault((field,), f"{flag_of(field)} {text}", value)


def _worker_url_faults(config: StartConfig) -> Iterator[Fault]:
    seen: dict[tuple[str, str, int], tuple[str, str]] = {}
    for field in URL_LISTS:
        for url in getattr(config, field):
            if field == "prefill" and url.isdigit():
                continue
            try:
                check_worker_url(flag_of(field), url)
            except ConfigError as error:
                yield Fault((field,), str(error), url)
                continue
            known = seen.get(origin(url))
            seen[origin(url)] = (field, url)
            if known is not None:
                name, before = known
                what = f"{url} twice" if before == url else f"{before} and {url}, which are the same"
                fields = tuple(dict.fromkeys((name, field)))
                flags = " and ".join(map(flag_of, fields))
                yield Fault(fields, f"{flags} name{'s' * (name == field)} {what}; name each worker once", url)
    roles = {origin(url): field for field in ("prefill", "decode") for url in getattr(config, field) if _is_url(url)}
    for worker in config.workers:
        role = roles.get(origin(worker.url))
        if role is not None and worker.role not in (None, role):
            text = f"--{role} names {worker.url}, and the file's table of it has role = {worker.role!r}; leave one out"
            yield Fault((role,), text, worker.url)


def _is_url(url: str) -> bool:
    try:
        check_worker_url("", url)
    except ConfigError:
        return False
    return True


def _control_faults(config: StartConfig) -> Iterator[Fault]:
    bind, keys = config.control_bind, config.control_keys
    if bind is not None:
        try:
            address = parse_remote_address("--control-bind", bind)
        except ValueError as error:
            yield Fault(("control_bind",), str(error))
        else:
            yield from _control_address_faults(config, address)
    if bind is not None and not keys:
        yield Fault(
            ("control_bind",),
            "--control-bind lets planes on other hosts in, by their keys only; give a folder with --control-keys, "
            "and make it with: routerctl keys new --dir FOLDER",
        )
    elif keys and bind is None:
        yield Fault(("control_keys",), "--control-keys has no effect without --control-bind; give both or neither")
    elif keys:
        # Only for those who use it: it loads ZeroMQ.
        from shared.plane_keys import SERVER, KeyFileError, read_pair, secret_file

        try:
            read_pair(secret_file(Path(keys), SERVER))
        except KeyFileError as error:
            yield Fault(("control_keys",), f"--control-keys: {error}")


def _control_address_faults(config: StartConfig, address: RemoteAddress) -> Iterator[Fault]:
    if not _is_address(address.host):
        text = f"--control-bind has host {address.host!r}; write an IP address to listen on, such as 0.0.0.0 for all"
        yield Fault(("control_bind",), text)
    for field in PORTS:
        if (port := getattr(config, field)) in address.ports:
            yield Fault(
                ("control_bind", field),
                f"--control-bind uses ports {address.ports[0]} and {address.ports[1]}, and {flag_of(field)} is {port}; "
                "give them different ports",
            )


def _token_faults(config: StartConfig) -> Iterator[Fault]:
    if config.prometheus_token_file is not None:
        try:
            read_admin_token("--prometheus-token-file", Path(config.prometheus_token_file))
        except ConfigError as error:
            yield Fault(("prometheus_token_file",), str(error))
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
