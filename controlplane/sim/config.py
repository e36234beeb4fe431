"""What can be set on a simulated worker, and the check that the settings fit together."""

from __future__ import annotations

import re

import msgspec

from .faults import Fault

CONNECTORS = ("nixl", "nixl_push", "mooncake", "moriio", "nccl", "example", "lmcache")
ROLES = ("kv_both", "kv_producer", "kv_consumer")
MODES = ("read", "write")
PINGING = ("nccl", "moriio")
"""Connectors whose workers register by themselves."""
_ONE_ROLE = ("nccl", "moriio")
"""Connectors whose workers are either prefill or decode workers."""

MAX_WORKERS = 1024
MAX_PORT = 65535
MAX_RANKS = 64


class ConfigError(ValueError):
    """A setting that cannot be used; its text says what, where and what instead, in one line."""


class SimConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one simulator process, which stands for `count` workers on consecutive ports."""

    host: str = "127.0.0.1"
    port: int = 8000
    """The first worker's port; 0 lets the system choose a free one for each worker."""
    count: int = 1
    data_parallel_size: int = 1
    """Engines of each worker, behind its one port."""
    models: tuple[str, ...] = ("sim-model",)
    """Names the one model answers to; the first is the one in `/metrics`."""
    api_key: str | None = None
    enable_lora: bool = False
    """Whether LoRA adapters can be loaded while it runs (VLLM_ALLOW_RUNTIME_LORA_UPDATING)."""
    responses_store: bool = False
    """Whether responses can be asked for again (VLLM_ENABLE_RESPONSES_API_STORE)."""
    prefill_tokens_per_second: float = 20_000.0
    """Prompt tokens that were not cached, per second: about an 8B model on one large GPU."""
    decode_ms: float = 10.0
    """Milliseconds of one decode step with one sequence in it."""
    decode_growth: float = 0.01
    """Part of `decode_ms` that each further sequence of the batch adds to the step."""
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    """Token budget of one step: a longer prompt is prefilled in chunks, as vLLM does."""
    num_blocks: int = 8192
    block_size: int = 16
    max_model_len: int = 32_768
    time_scale: float = 1.0
    """Every engine duration is multiplied by it; 0 makes answers instant."""
    idle_close_seconds: float = 5.0
    """Keep-alive time of an idle connection: 5 s is what vLLM gives its uvicorn."""
    version: str = "0.32.0"
    """vLLM's, as `/version` tells it. Two workers with NIXL must have the same."""
    kv_connector: str | None = None
    """How KV cache goes from worker to worker: one of `CONNECTORS` (`kv_transfer`)."""
    kv_role: str = "kv_both"
    register: str | None = None
    """Where the workers register, `tcp://HOST:PORT`."""
    ping_seconds: float = 3.0
    kv_mode: str = "write"
    """MoRIIO's: the decode worker reads, or the prefill worker writes, which is vLLM's default."""
    kv_lease_seconds: float = 30.0
    """For which a prompt's blocks are kept for a worker that does not come: vLLM's `kv_lease_duration`."""
    kv_wait_seconds: float = 480.0
    """For which a decode worker waits for blocks that do not come, if at all: vLLM's for NIXL push and Mooncake."""
    kv_transfer_tokens_per_second: float = 200_000.0
    """Speed of KV cache between workers: about an 8B model over 200 Gbit/s."""
    bootstrap_port: int = 8998
    """Port of the first worker's bootstrap server with Mooncake, which is vLLM's; 0 chooses free ones."""
    prompt_tokens_details: bool = False
    """Whether `usage` tells the prompt's cached tokens; vLLM does so when it is asked to."""
    server_load_tracking: bool = False
    """Whether `/load` counts; vLLM answers 0 unless it is asked to track."""
    kv_events: bool = False
    """Whether each worker publishes its KV events, on free ports that `/kv_event_sources` tells."""
    kv_events_buffer_steps: int = 10_000
    """Messages that a worker can replay; vLLM's default."""
    record: int = 100
    """How many of the last requests each worker keeps for `GET /sim/requests`."""
    max_body_bytes: int = 512 * 1024 * 1024
    write_buffer_bytes: int = 64 * 1024
    """Generation stops sending while more than this waits for a slow reader."""
    faults: tuple[tuple[int | None, Fault], ...] = ()
    """Faults present from the start: (worker index, or None for every worker; fault)."""

    @property
    def heeds_prefill_count(self) -> bool:
        """Whether a decode worker counts as cached what the prefill worker says, as since 0.31, not all that came."""
        found = re.match(r"(\d+)\.(\d+)", self.version)
        return found is None or (int(found[1]), int(found[2])) >= (0, 31)


def check(config: SimConfig) -> SimConfig:
    """Return the config unchanged, or raise ConfigError for the first setting that cannot work."""
    _within("--port", config.port, 0, MAX_PORT)
    _within("--count", config.count, 1, MAX_WORKERS)
    _within("--bootstrap-port", config.bootstrap_port, 0, MAX_PORT)
    _within("--data-parallel-size", config.data_parallel_size, 1, MAX_RANKS)
    if config.port and config.port + config.count - 1 > MAX_PORT:
        raise ConfigError(
            f"--port {config.port} with --count {config.count} ends above port {MAX_PORT}: "
            f"use a port up to {MAX_PORT - config.count + 1}, or 0"
        )
    if not config.models or not all(config.models):
        raise ConfigError("--model is empty: give a name, such as sim-model")
    for name in ("max_num_seqs", "max_num_batched_tokens", "num_blocks", "block_size", "max_model_len"):
        _at_least(name, getattr(config, name), 1)
    for name in ("max_body_bytes", "write_buffer_bytes", "kv_events_buffer_steps"):
        _at_least(name, getattr(config, name), 1)
    for name in ("decode_ms", "decode_growth", "time_scale", "record", "idle_close_seconds"):
        _at_least(name, getattr(config, name), 0)
    if not config.prefill_tokens_per_second > 0:
        raise ConfigError(
            f"--prefill-tokens-per-second {config.prefill_tokens_per_second:g} is not above 0: "
            "for instant answers use --time-scale 0"
        )
    _check_kv(config)
    tokens = config.num_blocks * config.block_size
    if tokens < config.max_model_len:
        raise ConfigError(
            f"--num-blocks {config.num_blocks} of --block-size {config.block_size} hold {tokens} tokens, "
            f"fewer than --max-model-len {config.max_model_len}: "
            f"use --max-model-len {tokens} or at least {-(-config.max_model_len // config.block_size)} blocks"
        )
    for index, _fault in config.faults:
        if index is not None and not 0 <= index < config.count:
            raise ConfigError(f"--fault {index}:... names a worker outside 0..{config.count - 1}")
    return config


def _check_kv(config: SimConfig) -> None:
    for flag, value, known in (
        ("--kv-connector", config.kv_connector, (None, *CONNECTORS)),
        ("--kv-role", config.kv_role, ROLES),
        ("--kv-mode", config.kv_mode, MODES),
    ):
        if value not in known:
            raise ConfigError(f"{flag} is {value!r}; choose one of: {', '.join(filter(None, known))}")
    if config.kv_connector in _ONE_ROLE and config.kv_role == "kv_both":
        raise ConfigError(
            f"--kv-connector {config.kv_connector} has workers of one role each: "
            "use --kv-role kv_producer for prefill workers and --kv-role kv_consumer for decode workers"
        )
    if config.register is not None:
        if config.kv_connector not in PINGING:
            raise ConfigError(
                f"--register is for workers with --kv-connector {' or '.join(PINGING)}: no other registers by itself; "
                "for those run `routerctl register` beside them"
            )
        if not re.fullmatch(r"tcp://[^\s/]+:[0-9]{1,5}", config.register):
            raise ConfigError(
                f"--register is {config.register!r}: write tcp://HOST:PORT, such as tcp://127.0.0.1:30001"
            )
    if not config.ping_seconds > 0:
        raise ConfigError(f"--ping-secs {config.ping_seconds:g} is not above 0: vLLM pings every 3 s")
    for name in ("kv_lease_seconds", "kv_wait_seconds"):
        _at_least(name, getattr(config, name), 0)
    if not config.kv_transfer_tokens_per_second > 0:
        speed = config.kv_transfer_tokens_per_second
        raise ConfigError(f"--kv-transfer-tokens-per-second {speed:g} is not above 0: for no time use --time-scale 0")


def _within(flag: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{flag} {value} is outside {low}..{high}")


def _at_least(name: str, value: float, low: int) -> None:
    if not value >= low:
        raise ConfigError(f"--{name.replace('_', '-')} {value:g} is below {low}: use {low} or more")
