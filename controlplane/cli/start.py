"""`routerctl start`: the flags, and the way from them to a running supervisor."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from controlplane.cli.given_key import checked_key
from controlplane.cli.options import CONFIG, option
from shared.config import StartConfig
from shared.config_fields import FIELDS
from shared.config_file import ConfigFile, load_config_file, read_config
from shared.config_sources import Gathered, Sources, gather, relevant

CONFIG_VARIABLE = "ROUTERCTL_CONFIG"
MVLLM_CONFIG_VARIABLE = "CONFIG_PATH"
"""mvllm's; it counts where it names a file in mvllm's form."""
Text = str | None
Texts = list[str] | None


def start(
    context: typer.Context,
    host: Annotated[Text, option("host")] = None,
    port: Annotated[Text, option("port")] = None,
    worker_urls: Annotated[Texts, option("worker_urls")] = None,
    prefill: Annotated[Texts, option("prefill")] = None,
    decode: Annotated[Texts, option("decode")] = None,
    vllm_pd_disaggregation: Annotated[Text, option("vllm_pd_disaggregation")] = None,
    kv_connector: Annotated[Text, option("kv_connector")] = None,
    vllm_discovery_address: Annotated[Text, option("vllm_discovery_address")] = None,
    discovery_allow: Annotated[Texts, option("discovery_allow")] = None,
    discovery_curve_address: Annotated[Text, option("discovery_curve_address")] = None,
    discovery_keys: Annotated[Text, option("discovery_keys")] = None,
    service_discovery: Annotated[Text, option("service_discovery")] = None,
    service_discovery_port: Annotated[Text, option("service_discovery_port")] = None,
    service_discovery_namespace: Annotated[Text, option("service_discovery_namespace")] = None,
    selector: Annotated[Texts, option("selector")] = None,
    prefill_selector: Annotated[Texts, option("prefill_selector")] = None,
    decode_selector: Annotated[Texts, option("decode_selector")] = None,
    service_discovery_credentials: Annotated[Text, option("service_discovery_credentials")] = None,
    pd_fallback: Annotated[Text, option("pd_fallback")] = None,
    pd_bypass_tokens: Annotated[Text, option("pd_bypass_tokens")] = None,
    prefill_timeout_secs: Annotated[Text, option("prefill_timeout_secs")] = None,
    decode_first_byte_timeout_secs: Annotated[Text, option("decode_first_byte_timeout_secs")] = None,
    decode_token_timeout_secs: Annotated[Text, option("decode_token_timeout_secs")] = None,
    intra_node_data_parallel_size: Annotated[Text, option("intra_node_data_parallel_size")] = None,
    refuse_client_rank: Annotated[Text, option("refuse_client_rank")] = None,
    policy: Annotated[Text, option("policy")] = None,
    prefill_policy: Annotated[Text, option("prefill_policy")] = None,
    decode_policy: Annotated[Text, option("decode_policy")] = None,
    load_formula: Annotated[Text, option("load_formula")] = None,
    session_headers: Annotated[Texts, option("session_headers")] = None,
    session_max_load: Annotated[Text, option("session_max_load")] = None,
    session_ttl_secs: Annotated[Text, option("session_ttl_secs")] = None,
    cache_threshold: Annotated[Text, option("cache_threshold")] = None,
    balance_abs_threshold: Annotated[Text, option("balance_abs_threshold")] = None,
    balance_rel_threshold: Annotated[Text, option("balance_rel_threshold")] = None,
    max_tree_size: Annotated[Text, option("max_tree_size")] = None,
    eviction_interval_secs: Annotated[Text, option("eviction_interval_secs")] = None,
    prefix_index_mb: Annotated[Text, option("prefix_index_mb")] = None,
    tokenizer: Annotated[Texts, option("tokenizer")] = None,
    kv_event_source: Annotated[Texts, option("kv_event_source")] = None,
    kv_event_replay_source: Annotated[Texts, option("kv_event_replay_source")] = None,
    kv_event_block_size: Annotated[Text, option("kv_event_block_size")] = None,
    kv_event_model: Annotated[Text, option("kv_event_model")] = None,
    kv_index_max_blocks: Annotated[Text, option("kv_index_max_blocks")] = None,
    router_temperature: Annotated[Text, option("router_temperature")] = None,
    kv_penalty_host: Annotated[Text, option("kv_penalty_host")] = None,
    kv_penalty_external: Annotated[Text, option("kv_penalty_external")] = None,
    kv_penalty_disk: Annotated[Text, option("kv_penalty_disk")] = None,
    kv_aware_session_affinity_ttl_secs: Annotated[Text, option("kv_aware_session_affinity_ttl_secs")] = None,
    data_planes: Annotated[Text, option("data_planes")] = None,
    plane_affinity: Annotated[Text, option("plane_affinity")] = None,
    config: Annotated[Text, CONFIG] = None,
    runtime_dir: Annotated[Text, option("runtime_dir")] = None,
    control_bind: Annotated[Text, option("control_bind")] = None,
    control_keys: Annotated[Text, option("control_keys")] = None,
    tls_cert: Annotated[Text, option("tls_cert")] = None,
    tls_key: Annotated[Text, option("tls_key")] = None,
    tls_client_ca: Annotated[Text, option("tls_client_ca")] = None,
    admin_host: Annotated[Text, option("admin_host")] = None,
    admin_port: Annotated[Text, option("admin_port")] = None,
    admin_token_file: Annotated[Text, option("admin_token_file")] = None,
    admin_tls_cert: Annotated[Text, option("admin_tls_cert")] = None,
    admin_tls_key: Annotated[Text, option("admin_tls_key")] = None,
    admin_tls_client_ca: Annotated[Text, option("admin_tls_client_ca")] = None,
    prometheus_host: Annotated[Text, option("prometheus_host")] = None,
    prometheus_port: Annotated[Text, option("prometheus_port")] = None,
    prometheus_token_file: Annotated[Text, option("prometheus_token_file")] = None,
    prometheus_tls_cert: Annotated[Text, option("prometheus_tls_cert")] = None,
    prometheus_tls_key: Annotated[Text, option("prometheus_tls_key")] = None,
    prometheus_tls_client_ca: Annotated[Text, option("prometheus_tls_client_ca")] = None,
    metrics_compat: Annotated[Text, option("metrics_compat")] = None,
    worker_startup_timeout_secs: Annotated[Text, option("worker_startup_timeout_secs")] = None,
    worker_startup_check_interval: Annotated[Text, option("worker_startup_check_interval")] = None,
    health_failure_threshold: Annotated[Text, option("health_failure_threshold")] = None,
    health_success_threshold: Annotated[Text, option("health_success_threshold")] = None,
    health_check_timeout_secs: Annotated[Text, option("health_check_timeout_secs")] = None,
    health_check_interval_secs: Annotated[Text, option("health_check_interval_secs")] = None,
    health_check_endpoint: Annotated[Text, option("health_check_endpoint")] = None,
    health_min_success_rate: Annotated[Text, option("health_min_success_rate")] = None,
    health_max_response_time_secs: Annotated[Text, option("health_max_response_time_secs")] = None,
    health_window_size: Annotated[Text, option("health_window_size")] = None,
    disable_health_check: Annotated[Text, option("disable_health_check")] = None,
    load_interval_ms: Annotated[Text, option("load_interval_ms")] = None,
    load_cpu_percent: Annotated[Text, option("load_cpu_percent")] = None,
    no_load_header: Annotated[Text, option("no_load_header")] = None,
    forward_unknown_models: Annotated[Text, option("forward_unknown_models")] = None,
    enable_igw: Annotated[Text, option("enable_igw")] = None,
    connect_timeout_secs: Annotated[Text, option("connect_timeout_secs")] = None,
    worker_ca_file: Annotated[Text, option("worker_ca_file")] = None,
    worker_client_cert: Annotated[Text, option("worker_client_cert")] = None,
    worker_client_key: Annotated[Text, option("worker_client_key")] = None,
    worker_server_name: Annotated[Text, option("worker_server_name")] = None,
    api_key_file: Annotated[Text, option("api_key_file")] = None,
    client_keys_file: Annotated[Text, option("client_keys_file")] = None,
    cors_allowed_origins: Annotated[Texts, option("cors_allowed_origins")] = None,
    trusted_proxies: Annotated[Texts, option("trusted_proxies")] = None,
    request_timeout_secs: Annotated[Text, option("request_timeout_secs")] = None,
    response_header_timeout_secs: Annotated[Text, option("response_header_timeout_secs")] = None,
    stream_idle_timeout_secs: Annotated[Text, option("stream_idle_timeout_secs")] = None,
    client_body_timeout_secs: Annotated[Text, option("client_body_timeout_secs")] = None,
    client_write_timeout_secs: Annotated[Text, option("client_write_timeout_secs")] = None,
    retry_max_retries: Annotated[Text, option("retry_max_retries")] = None,
    retry_initial_backoff_ms: Annotated[Text, option("retry_initial_backoff_ms")] = None,
    retry_max_backoff_ms: Annotated[Text, option("retry_max_backoff_ms")] = None,
    retry_backoff_multiplier: Annotated[Text, option("retry_backoff_multiplier")] = None,
    retry_jitter_factor: Annotated[Text, option("retry_jitter_factor")] = None,
    disable_retries: Annotated[Text, option("disable_retries")] = None,
    cb_failure_threshold: Annotated[Text, option("cb_failure_threshold")] = None,
    cb_success_threshold: Annotated[Text, option("cb_success_threshold")] = None,
    cb_timeout_duration_secs: Annotated[Text, option("cb_timeout_duration_secs")] = None,
    cb_window_duration_secs: Annotated[Text, option("cb_window_duration_secs")] = None,
    disable_circuit_breaker: Annotated[Text, option("disable_circuit_breaker")] = None,
    max_ejection_percent: Annotated[Text, option("max_ejection_percent")] = None,
    ejection_interval_secs: Annotated[Text, option("ejection_interval_secs")] = None,
    ejection_request_volume: Annotated[Text, option("ejection_request_volume")] = None,
    ejection_min_workers: Annotated[Text, option("ejection_min_workers")] = None,
    ejection_stdev_factor: Annotated[Text, option("ejection_stdev_factor")] = None,
    ejection_base_time_secs: Annotated[Text, option("ejection_base_time_secs")] = None,
    ejection_max_time_secs: Annotated[Text, option("ejection_max_time_secs")] = None,
    ejection_latency_factor: Annotated[Text, option("ejection_latency_factor")] = None,
    ejection_latency_floor_ms: Annotated[Text, option("ejection_latency_floor_ms")] = None,
    disable_ejection: Annotated[Text, option("disable_ejection")] = None,
    slow_start_secs: Annotated[Text, option("slow_start_secs")] = None,
    max_payload_size: Annotated[Text, option("max_payload_size")] = None,
    strict_paths: Annotated[Text, option("strict_paths")] = None,
    trust_kv_transfer_params: Annotated[Text, option("trust_kv_transfer_params")] = None,
    request_id_headers: Annotated[Texts, option("request_id_headers")] = None,
    expose_worker: Annotated[Text, option("expose_worker")] = None,
    mvllm_compat: Annotated[Text, option("mvllm_compat")] = None,
    explain: Annotated[Text, option("explain")] = None,
    receipts: Annotated[Text, option("receipts")] = None,
    max_concurrent_requests: Annotated[Text, option("max_concurrent_requests")] = None,
    model_max_concurrent_requests: Annotated[Texts, option("model_max_concurrent_requests")] = None,
    worker_max_concurrent_requests: Annotated[Text, option("worker_max_concurrent_requests")] = None,
    adaptive_worker_limit: Annotated[Text, option("adaptive_worker_limit")] = None,
    rate_limit_tokens_per_second: Annotated[Text, option("rate_limit_tokens_per_second")] = None,
    queue_size: Annotated[Text, option("queue_size")] = None,
    queue_timeout_secs: Annotated[Text, option("queue_timeout_secs")] = None,
    preempt_batch: Annotated[Text, option("preempt_batch")] = None,
    drain_delay_secs: Annotated[Text, option("drain_delay_secs")] = None,
    no_admin_on_main: Annotated[Text, option("no_admin_on_main")] = None,
    shutdown_grace_secs: Annotated[Text, option("shutdown_grace_secs")] = None,
    hung_plane_secs: Annotated[Text, option("hung_plane_secs")] = None,
    log_level: Annotated[Text, option("log_level")] = None,
    log_format: Annotated[Text, option("log_format")] = None,
    log_dir: Annotated[Text, option("log_dir")] = None,
    access_log: Annotated[Text, option("access_log")] = None,
    log_prompts: Annotated[Text, option("log_prompts")] = None,
    console: Annotated[Text, option("console")] = None,
    otlp_traces_endpoint: Annotated[Text, option("otlp_traces_endpoint")] = None,
    otel_sampling_ratio: Annotated[Text, option("otel_sampling_ratio")] = None,
    watch_config: Annotated[Text, option("watch_config")] = None,
) -> int:
    """Start a router: a control plane and N data planes on one port.

    Every flag can also be set as ROUTERCTL_<FLAG> in the environment or in a TOML file (--config).
    """
    # An empty text was given and is looked at; an empty tuple is how typer says that a list was not given.
    given = {field: value for field, value in context.params.items() if field in FIELDS and value not in (None, ())}
    file = given_config_file(config)
    gathered = gather(given, os.environ, file)
    checked = gathered.checked()
    key = checked_key(context.obj, gathered)
    warn(gathered)
    sources = Sources(
        flags=given,
        environment=relevant(os.environ),
        file=str(Path(file.name).absolute()) if file is not None else None,
        text=file.text if file is not None else None,
    )
    return run(checked, sources, key)


def given_config_file(path: str | None) -> ConfigFile | None:
    """Read the file named by `--config`, which is `path`, else by a variable, if any. Raises ConfigError."""
    if path:
        return load_config_file(path)
    if path := os.environ.get(CONFIG_VARIABLE):
        return load_config_file(path, f"{CONFIG_VARIABLE}=")
    path = os.environ.get(MVLLM_CONFIG_VARIABLE)
    # Others use a variable of that name, too, for files that are no concern of ours.
    if not path or not path.endswith(".toml"):
        return None
    file = load_config_file(path, f"{MVLLM_CONFIG_VARIABLE}=")
    return file if read_config(file).is_mvllms else None


def warn(gathered: Gathered) -> None:
    """Say what has no effect."""
    for warning in gathered.warnings:
        print(f"routerctl: warning: {warning}", file=sys.stderr)


def run(config: StartConfig, sources: Sources, key: str | None = None) -> int:
    """Run a router until it is told to stop; return the exit code. Reloads read `sources` again.

    `key` is the workers', where it was given as a word.
    """
    from controlplane.children import Spawner, own_commands
    from controlplane.opening import EarlySignals, open_router
    from controlplane.preflight import CanNotStart, check_log_folder, check_ports, survey, take_lock, why_not_started
    from shared.logs import configure_logging
    from shared.plane_fingerprint import plane_fingerprint
    from shared.runtime_dir import RuntimeDir, RuntimeDirError, default_runtime_dir, write_atomically, write_record

    config = config.with_absolute_paths()
    runtime = RuntimeDir(Path(config.runtime_dir) if config.runtime_dir else default_runtime_dir(config.port))
    try:
        runtime.prepare()
        lock = take_lock(runtime)
        found = survey(runtime, config.data_planes)
        check_ports(config, found)
        check_log_folder(config)
    except (CanNotStart, RuntimeDirError) as error:
        return _can_not(str(error))
    with lock:
        early = EarlySignals()
        early.install()
        spawner = Spawner(runtime, own_commands(runtime), plane_fingerprint(config))
        try:
            if key is not None:
                write_atomically(runtime.worker_key, key.encode())
                path = str(runtime.worker_key)
                config = msgspec.structs.replace(config, api_key_file=path)
                sources = msgspec.structs.replace(sources, flags={**sources.flags, "api_key_file": path})
            write_record(runtime.sources, sources)
            opening = open_router(config, runtime, found, spawner)
        except OSError as error:
            return _can_not(why_not_started(runtime, error))

        # Only now, while the children load their own modules.
        import asyncio

        from setproctitle import setproctitle

        from controlplane.events.recorder import recorded_events
        from controlplane.supervisor import Supervisor

        setproctitle("routerctl: supervisor")
        configure_logging("supervisor", config.log_level, log_format=config.log_format, folder=config.log_dir)
        line: AbstractContextManager[None] = nullcontext()
        if config.console:
            from controlplane.console.console import console

            line = console(runtime)
        with recorded_events(runtime, "supervisor"), line:
            return asyncio.run(Supervisor(config, runtime, spawner, opening).run(early))


def _can_not(reason: str) -> int:
    print(f"routerctl: error: {reason}", file=sys.stderr)
    return 1
