"""What of the configuration planes go by while they serve: the settings in the routing table."""

from __future__ import annotations

from shared.config import StartConfig
from shared.limits import model_limits
from shared.table import Settings


def settings_of(config: StartConfig) -> Settings:
    """Return the part of a configuration that travels in the routing table."""
    return Settings(
        policy=config.policy,
        prefill_policy=config.prefill_policy,
        decode_policy=config.decode_policy,
        model_policies=config.policies,
        models=config.models,
        # In vllm-router's gateway mode a model that no worker has told goes to any worker.
        forward_unknown_models=config.forward_unknown_models or config.enable_igw,
        load_formula=config.load_formula,
        session_headers=tuple(name.lower() for name in config.session_headers),
        session_max_load=float(config.session_max_load),
        session_ttl=float(config.session_ttl_secs),
        cache_threshold=float(config.cache_threshold),
        balance_abs_threshold=config.balance_abs_threshold,
        balance_rel_threshold=float(config.balance_rel_threshold),
        max_tree_size=config.max_tree_size,
        eviction_interval=float(config.eviction_interval_secs),
        prefix_index_size=config.prefix_index_mb << 20,
        tokenizer=config.tokenizer,
        kv_event_model=config.kv_event_model,
        router_temperature=config.router_temperature,
        kv_credits=(1.0, config.kv_penalty_host, config.kv_penalty_external, config.kv_penalty_disk),
        kv_session_ttl=float(config.kv_aware_session_affinity_ttl_secs),
        data_planes=config.data_planes,
        connect_timeout=float(config.connect_timeout_secs),
        request_timeout=float(config.request_timeout_secs),
        response_header_timeout=float(config.response_header_timeout_secs),
        stream_idle_timeout=float(config.stream_idle_timeout_secs),
        client_body_timeout=float(config.client_body_timeout_secs),
        client_write_timeout=float(config.client_write_timeout_secs),
        max_attempts=1 if config.disable_retries else max(1, config.retry_max_retries),
        retry_initial_backoff=config.retry_initial_backoff_ms / 1000,
        retry_max_backoff=config.retry_max_backoff_ms / 1000,
        retry_backoff_multiplier=config.retry_backoff_multiplier,
        retry_jitter_factor=config.retry_jitter_factor,
        circuit_breaker=not config.disable_circuit_breaker,
        cb_failure_threshold=config.cb_failure_threshold,
        cb_success_threshold=config.cb_success_threshold,
        cb_timeout=float(config.cb_timeout_duration_secs),
        cb_window=float(config.cb_window_duration_secs),
        max_ejection_percent=config.max_ejection_percent,
        slow_start=float(config.slow_start_secs),
        load_header=not config.no_load_header,
        disaggregated=config.is_disaggregated,
        kv_connector=config.kv_connector,
        pd_fallback=config.pd_fallback,
        pd_bypass_tokens=config.pd_bypass_tokens,
        prefill_timeout=float(config.prefill_timeout_secs),
        decode_first_byte_timeout=float(config.decode_first_byte_timeout_secs),
        decode_token_timeout=float(config.decode_token_timeout_secs),
        max_payload_size=config.max_payload_size,
        strict_paths=config.strict_paths,
        refuse_client_rank=config.refuse_client_rank,
        trust_kv_transfer_params=config.trust_kv_transfer_params,
        request_id_headers=tuple(name.lower() for name in config.request_id_headers),
        worker_ca_file=config.worker_ca_file,
        worker_client_cert=config.worker_client_cert,
        worker_client_key=config.worker_client_key,
        worker_server_name=config.worker_server_name,
        worker_key_file=config.api_key_file,
        # What is in the file is put in by who reads it. Until then nobody may come in.
        client_keys=None if config.client_keys_file is None else (),
        trusted_proxies=config.trusted_proxies,
        cors_allowed_origins=config.cors_allowed_origins,
        expose_worker=config.expose_worker,
        mvllm_compat=config.mvllm_compat,
        explain=config.explain,
        receipts=config.receipts,
        # Whoever gives a secret wants nobody to command the router without it.
        # Nor shall anybody who reaches the data port add a worker of his own and be sent the workers' key.
        admin_on_main=not config.no_admin_on_main
        and config.admin_token_file is None
        and config.api_key_file is None
        and config.client_keys_file is None,
        log_level=config.log_level,
        access_log=config.access_log,
        log_prompts=config.log_prompts,
        otlp_traces_endpoint=config.otlp_traces_endpoint,
        otel_sampling_ratio=config.otel_sampling_ratio,
        max_concurrent_requests=config.max_concurrent_requests,
        rate_limit=float(config.rate_limit_tokens_per_second),
        queue_size=config.queue_size,
        queue_timeout=float(config.queue_timeout_secs),
        worker_max_concurrent_requests=config.worker_max_concurrent_requests,
        adaptive_worker_limit=config.adaptive_worker_limit,
        preempt_batch=config.preempt_batch,
        model_limits=model_limits(config.model_max_concurrent_requests),
    )
