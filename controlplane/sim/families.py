"""The families of vLLM 0.32's `/metrics`: names, help texts, labels, and where each figure comes from.

In the order of vLLM's own page. What this engine does not have (multi-modal cache, KV connector, FLOP estimates)
is there with 0, as a server that does not use it shows it.
"""

# ruff: noqa: E501 - vLLM's help texts stand here as they are
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .engine import Engine
from .stats import Histogram

Rows = list[tuple[tuple[tuple[str, str], ...], float]]
"""Values of one family: (labels beyond engine and model_name, value)."""


class Family(NamedTuple):
    """A gauge or a counter."""

    name: str
    kind: str
    help: str
    rows: Callable[[Engine], Rows]


class HistogramFamily(NamedTuple):
    """A histogram."""

    name: str
    help: str
    histogram: Callable[[Engine], Histogram]


def _one(value: float) -> Rows:
    return [((), value)]


def _by(label: str, **values: float) -> Rows:
    return [(((label, name),), value) for name, value in values.items()]


def _zero(_engine: Engine) -> Rows:
    return _one(0)


FAMILIES: tuple[Family, ...] = (
    Family(
        "vllm:estimated_flops_per_gpu_total",
        "counter",
        "Estimated number of floating point operations per GPU (for Model Flops Utilization calculations).",
        _zero,
    ),
    Family(
        "vllm:estimated_read_bytes_per_gpu_total",
        "counter",
        "Estimated number of bytes read from memory per GPU (for Model Flops Utilization calculations).",
        _zero,
    ),
    Family(
        "vllm:estimated_write_bytes_per_gpu_total",
        "counter",
        "Estimated number of bytes written to memory per GPU (for Model Flops Utilization calculations).",
        _zero,
    ),
    Family(
        "vllm:num_requests_running",
        "gauge",
        "Number of requests in model execution batches.",
        lambda e: _one(len(e.running)),
    ),
    Family(
        "vllm:num_requests_waiting",
        "gauge",
        "Number of requests waiting to be processed.",
        lambda e: _one(len(e.waiting)),
    ),
    Family(
        "vllm:num_requests_waiting_by_reason",
        "gauge",
        "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals vllm:num_requests_waiting.",
        lambda e: _by("reason", capacity=len(e.waiting), deferred=0),
    ),
    Family(
        "vllm:engine_sleep_state",
        "gauge",
        "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
        lambda e: _by("sleep_state", awake=1, weights_offloaded=0, discard_all=0),
    ),
    Family(
        "vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", lambda e: _one(e.kv_usage)
    ),
    Family(
        "vllm:prefix_cache_queries_total",
        "counter",
        "Prefix cache queries, in terms of number of queried tokens.",
        lambda e: _one(e.stats.prefix_cache_queries),
    ),
    Family(
        "vllm:prefix_cache_hits_total",
        "counter",
        "Prefix cache hits, in terms of number of cached tokens.",
        lambda e: _one(e.stats.prefix_cache_hits),
    ),
    Family(
        "vllm:external_prefix_cache_queries_total",
        "counter",
        "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried tokens.",
        lambda e: _one(e.stats.external_queries),
    ),
    Family(
        "vllm:external_prefix_cache_hits_total",
        "counter",
        "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached tokens.",
        lambda e: _one(e.stats.external_hits),
    ),
    Family(
        "vllm:mm_cache_queries_total",
        "counter",
        "Multi-modal cache queries, in terms of number of queried items.",
        _zero,
    ),
    Family("vllm:mm_cache_hits_total", "counter", "Multi-modal cache hits, in terms of number of cached items.", _zero),
    Family(
        "vllm:num_preemptions_total",
        "counter",
        "Cumulative number of preemption from the engine.",
        lambda e: _one(e.stats.preemptions),
    ),
    Family(
        "vllm:prompt_tokens_total",
        "counter",
        "Number of prefill tokens processed.",
        lambda e: _one(e.stats.prompt_tokens),
    ),
    Family(
        "vllm:prompt_tokens_by_source_total",
        "counter",
        "Number of prompt tokens by source.",
        lambda e: _by(
            "source",
            local_compute=e.stats.prompt_tokens - e.stats.prompt_tokens_cached,
            local_cache_hit=e.stats.prompt_tokens_cached - e.stats.external_hits,
            external_kv_transfer=e.stats.external_hits,
        ),
    ),
    Family(
        "vllm:prompt_tokens_cached_total",
        "counter",
        "Number of cached prompt tokens (local + external).",
        lambda e: _one(e.stats.prompt_tokens_cached),
    ),
    Family(
        "vllm:prompt_tokens_cached_by_source_total",
        "counter",
        "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to DRAM), disk, p2p (transferred from another vLLM instance) or external_unspecified. Counted at admission; sums to vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.",
        lambda e: _by(
            "source",
            device=e.stats.prompt_tokens_cached - e.stats.external_hits,
            host=0,
            p2p=e.stats.external_hits,
            disk=0,
            external_unspecified=0,
        ),
    ),
    Family(
        "vllm:generation_tokens_total",
        "counter",
        "Number of generation tokens processed.",
        lambda e: _one(e.stats.generation_tokens),
    ),
    Family(
        "vllm:request_success_total",
        "counter",
        "Count of successfully processed requests.",
        lambda e: _by("finished_reason", **e.stats.finished),
    ),
    Family(
        "vllm:admission_rejections_total",
        "counter",
        "Number of admission attempts rejected by a queue limit, by reason.",
        lambda e: _by("reason", max_num_queued_reqs=0, max_num_queued_tokens=0),
    ),
)

HISTOGRAMS: tuple[HistogramFamily, ...] = (
    HistogramFamily(
        "vllm:request_prompt_tokens", "Number of prefill tokens processed.", lambda e: e.stats.request_prompt_tokens
    ),
    HistogramFamily(
        "vllm:request_generation_tokens",
        "Number of generation tokens processed.",
        lambda e: e.stats.request_generation_tokens,
    ),
    HistogramFamily(
        "vllm:iteration_tokens_total",
        "Histogram of number of tokens per engine_step.",
        lambda e: e.stats.iteration_tokens,
    ),
    HistogramFamily(
        "vllm:request_max_num_generation_tokens",
        "Histogram of maximum number of requested generation tokens.",
        lambda e: e.stats.max_generation_tokens,
    ),
    HistogramFamily("vllm:request_params_n", "Histogram of the n request parameter.", lambda e: e.stats.params_n),
    HistogramFamily(
        "vllm:request_params_max_tokens",
        "Histogram of the max_tokens request parameter.",
        lambda e: e.stats.params_max_tokens,
    ),
    HistogramFamily(
        "vllm:time_to_first_token_seconds",
        "Histogram of time to first token in seconds.",
        lambda e: e.stats.time_to_first_token,
    ),
    HistogramFamily(
        "vllm:inter_token_latency_seconds",
        "Histogram of inter-token latency in seconds.",
        lambda e: e.stats.inter_token_latency,
    ),
    HistogramFamily(
        "vllm:request_time_per_output_token_seconds",
        "Histogram of time_per_output_token_seconds per request.",
        lambda e: e.stats.time_per_output_token,
    ),
    HistogramFamily(
        "vllm:e2e_request_latency_seconds",
        "Histogram of e2e request latency in seconds.",
        lambda e: e.stats.e2e_latency,
    ),
    HistogramFamily(
        "vllm:request_queue_time_seconds",
        "Histogram of time spent in WAITING phase for request.",
        lambda e: e.stats.queue_time,
    ),
    HistogramFamily(
        "vllm:request_inference_time_seconds",
        "Histogram of time spent in RUNNING phase for request.",
        lambda e: e.stats.inference_time,
    ),
    HistogramFamily(
        "vllm:request_prefill_time_seconds",
        "Histogram of time spent in PREFILL phase for request.",
        lambda e: e.stats.prefill_time,
    ),
    HistogramFamily(
        "vllm:request_decode_time_seconds",
        "Histogram of time spent in DECODE phase for request.",
        lambda e: e.stats.decode_time,
    ),
    HistogramFamily(
        "vllm:request_num_preemptions",
        "Histogram of the number of times a request was preempted.",
        lambda e: e.stats.num_preemptions,
    ),
    HistogramFamily(
        "vllm:request_prefill_kv_computed_tokens",
        "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
        lambda e: e.stats.prefill_computed,
    ),
)

CACHE_CONFIG: dict[str, str] = {
    "_block_size_resolved": "True",
    "block_size": "32",
    "cache_dtype": "auto",
    "cache_hit_alignment_tokens": "None",
    "effective_attention_block_size": "32",
    "enable_mamba_shared_prefix_checkpoint": "False",
    "enable_prefix_caching": "True",
    "gpu_memory_utilization": "0.92",
    "hash_block_size": "None",
    "is_attention_free": "False",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None",
    "kv_cache_max_concurrency": "2048.0",
    "kv_cache_memory_bytes": "1073741824",
    "kv_cache_size_tokens": "4194304",
    "kv_offloading_backend": "native",
    "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None",
    "mamba_ssm_cache_dtype": "float32",
    "num_cpu_blocks": "None",
    "num_gpu_blocks": "131072",
    "num_gpu_blocks_override": "None",
    "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256_cbor",
    "prefix_match_unit": "None",
    "replayssm_buffer_len": "16",
    "skip_page_size_padded": "None",
    "sliding_window": "None",
    "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False",
    "use_replayssm": "False",
    "user_specified_block_size": "True",
}
"""Labels of `vllm:cache_config_info`; the ones that a simulated cache has are put in by `metrics`."""
