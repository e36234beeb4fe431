"""The command `routerctl sim`."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import setproctitle
import typer
import uvloop

from .config import ConfigError, SimConfig, check
from .faults import FaultError, parse
from .service import serve

_DEFAULT = SimConfig()


def sim(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = _DEFAULT.host,
    port: Annotated[int, typer.Option(help="Port of the first worker; 0 chooses free ports.")] = _DEFAULT.port,
    count: Annotated[int, typer.Option(help="Workers in this process, on consecutive ports.")] = _DEFAULT.count,
    data_parallel_size: Annotated[
        int, typer.Option(help="Engines of each worker, chosen by x-data-parallel-rank.")
    ] = _DEFAULT.data_parallel_size,
    model: Annotated[list[str] | None, typer.Option(help="Served model name; may be repeated. [sim-model]")] = None,
    api_key: Annotated[str | None, typer.Option(help="Key that /v1 and /v2 paths ask for.")] = None,
    prefill_tokens_per_second: Annotated[
        float, typer.Option(help="Speed of uncached prompt tokens.")
    ] = _DEFAULT.prefill_tokens_per_second,
    decode_ms: Annotated[float, typer.Option(help="Milliseconds of a decode step.")] = _DEFAULT.decode_ms,
    decode_growth: Annotated[
        float, typer.Option(help="Part of it that each further sequence adds.")
    ] = _DEFAULT.decode_growth,
    max_num_seqs: Annotated[int, typer.Option(help="Batch slots.")] = _DEFAULT.max_num_seqs,
    max_num_batched_tokens: Annotated[
        int, typer.Option(help="Token budget of one step.")
    ] = _DEFAULT.max_num_batched_tokens,
    num_blocks: Annotated[int, typer.Option(help="KV cache blocks.")] = _DEFAULT.num_blocks,
    block_size: Annotated[int, typer.Option(help="Tokens in a block.")] = _DEFAULT.block_size,
    max_model_len: Annotated[int, typer.Option(help="Longest prompt and answer, in tokens.")] = _DEFAULT.max_model_len,
    time_scale: Annotated[
        float, typer.Option(help="Multiplies every engine duration; 0 answers at once.")
    ] = _DEFAULT.time_scale,
    idle_close: Annotated[
        float, typer.Option(help="Seconds after which an idle connection is closed.")
    ] = _DEFAULT.idle_close_seconds,
    kv_connector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Hand KV cache over to other simulated workers as vLLM does with nixl, nixl_push, mooncake, moriio, "
            "nccl, example or lmcache.",
        ),
    ] = None,
    kv_role: Annotated[str, typer.Option(help="kv_both, kv_producer or kv_consumer.")] = _DEFAULT.kv_role,
    kv_mode: Annotated[
        str, typer.Option(help="moriio: the decode worker reads, or the prefill worker writes (read, write).")
    ] = _DEFAULT.kv_mode,
    kv_lease_secs: Annotated[
        float, typer.Option(help="Seconds for which KV cache is kept for a decode worker.")
    ] = _DEFAULT.kv_lease_seconds,
    kv_wait_secs: Annotated[
        float, typer.Option(help="Seconds for which a decode worker waits for KV cache that does not come.")
    ] = _DEFAULT.kv_wait_seconds,
    kv_transfer_tokens_per_second: Annotated[
        float, typer.Option(help="Speed of KV cache between workers.")
    ] = _DEFAULT.kv_transfer_tokens_per_second,
    bootstrap_port: Annotated[
        int, typer.Option(help="mooncake: port of the first worker's bootstrap server; 0 chooses free ports.")
    ] = _DEFAULT.bootstrap_port,
    register: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="Register at a router's discovery address, as vLLM does with nccl and moriio.",
        ),
    ] = None,
    ping_secs: Annotated[
        float, typer.Option(help="Seconds between registrations; vLLM's are 3.")
    ] = _DEFAULT.ping_seconds,
    vllm_version: Annotated[str, typer.Option(help="What GET /version tells.")] = _DEFAULT.version,
    enable_lora: Annotated[
        bool, typer.Option("--enable-lora", help="Let LoRA adapters be loaded and unloaded.")
    ] = False,
    responses_store: Annotated[
        bool, typer.Option("--responses-store", help="Keep what /v1/responses made, to be asked for again.")
    ] = False,
    enable_prompt_tokens_details: Annotated[
        bool, typer.Option("--enable-prompt-tokens-details", help="Tell cached tokens in usage.")
    ] = False,
    enable_server_load_tracking: Annotated[bool, typer.Option(help="Let /load count.")] = False,
    kv_events: Annotated[
        bool, typer.Option("--kv-events", help="Publish KV events, on free ports that GET /kv_event_sources tells.")
    ] = False,
    kv_events_buffer_steps: Annotated[
        int, typer.Option(help="Messages kept for their replay.")
    ] = _DEFAULT.kv_events_buffer_steps,
    record: Annotated[int, typer.Option(help="Requests kept for GET /sim/requests.")] = _DEFAULT.record,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="[INDEX:]NAME[=VALUE][,FIELD=VALUE...], such as 1:status=503,first=3; may be repeated."),
    ] = None,
) -> None:
    """Run simulated vLLM workers, for trying routerctl without a GPU."""
    try:
        config = check(
            SimConfig(
                host=host,
                port=port,
                count=count,
                data_parallel_size=data_parallel_size,
                models=tuple(model) if model else _DEFAULT.models,
                api_key=api_key,
                enable_lora=enable_lora,
                responses_store=responses_store,
                prefill_tokens_per_second=prefill_tokens_per_second,
                decode_ms=decode_ms,
                decode_growth=decode_growth,
                max_num_seqs=max_num_seqs,
                max_num_batched_tokens=max_num_batched_tokens,
                num_blocks=num_blocks,
                block_size=block_size,
                max_model_len=max_model_len,
                time_scale=time_scale,
                idle_close_seconds=idle_close,
                version=vllm_version,
                kv_connector=kv_connector,
                register=register,
                ping_seconds=ping_secs,
                kv_role=kv_role,
                kv_mode=kv_mode,
                kv_lease_seconds=kv_lease_secs,
                kv_wait_seconds=kv_wait_secs,
                kv_transfer_tokens_per_second=kv_transfer_tokens_per_second,
                bootstrap_port=bootstrap_port,
                prompt_tokens_details=enable_prompt_tokens_details,
                server_load_tracking=enable_server_load_tracking,
                kv_events=kv_events,
                kv_events_buffer_steps=kv_events_buffer_steps,
                record=record,
                faults=tuple(map(parse, fault or ())),
            )
        )
        setproctitle.setproctitle("routerctl: sim")
        uvloop.run(_until_signalled(config))
    except (ConfigError, FaultError) as error:
        typer.echo(f"routerctl sim: {error}", err=True)
        raise typer.Exit(2) from error


async def _until_signalled(config: SimConfig) -> None:
    """Serve until SIGTERM or SIGINT."""

    def ready(urls: list[str]) -> None:
        for index, url in enumerate(urls):
            print(f"sim worker {index} ready at {url} model={config.models[0]}", flush=True)

    serving = asyncio.ensure_future(serve(config, ready=ready))
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        return
