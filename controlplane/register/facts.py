"""What an engine tells of itself, read out of its answers. Pure: bytes in, facts out; None is what it did not tell.

vLLM tells its models, version, start and ranks always, its KV events from 0.31 on. NIXL shows by its series in
`/metrics`; role and everything about connectors are in `/server_info`, which only `VLLM_SERVER_DEV_MODE=1` opens.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from controlplane.kv_events.sources import Endpoint
from controlplane.load_page import read_engine_loads, read_load_page
from shared.decoding import DECODE_ERRORS
from shared.registration import MAX_VERSION_TEXT
from shared.table import Role

CONNECTORS = {
    "NixlConnector": "nixl",
    "NixlPullConnector": "nixl",
    "NixlPushConnector": "nixl_push",
    "P2pNcclConnector": "nccl",
    "MooncakeConnector": "mooncake",
    "MoRIIOConnector": "moriio",
    "ExampleConnector": "example",
    "SharedStorageConnector": "example",
    "LMCacheConnectorV1": "lmcache",
    "LMCacheMPConnector": "lmcache",
}
"""vLLM's classes that hand KV cache over, and the router's names of them."""
_ROLES: dict[str, Role] = {"kv_producer": "prefill", "kv_consumer": "decode"}
_NIXL_SERIES = b"\nvllm:nixl_"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """An engine as it told. `ranks` can be named in requests; the sizes are as in `shared.transfer.Transfer`."""

    models: tuple[str, ...] | None = None
    version: str | None = None
    process_start: float | None = None
    ranks: int | None = None
    role: Role | None = None
    connector: str | None = None
    bootstrap_port: int | None = None
    dp_size: int | None = None
    tp_size: int | None = None
    kv_events: tuple[Endpoint, ...] | None = None


class _Version(msgspec.Struct):
    version: str


class _KvTransfer(msgspec.Struct):
    kv_connector: str | None = None
    kv_role: str | None = None


class _Parallel(msgspec.Struct):
    data_parallel_size: int | None = None
    tensor_parallel_size: int | None = None


class _Config(msgspec.Struct):
    kv_transfer_config: _KvTransfer | None = None
    parallel_config: _Parallel | None = None


class _ServerInfo(msgspec.Struct):
    vllm_config: _Config
    vllm_env: dict[str, Any] = {}


_read_version = msgspec.json.Decoder(_Version).decode
_read_server_info = msgspec.json.Decoder(_ServerInfo).decode


class UnreadableError(ValueError):
    """An answer that is not what it should be. The message says what is wrong."""


def version(body: bytes) -> Facts:
    """Read the answer to `GET /version`. Raises UnreadableError."""
    try:
        return Facts(version=_read_version(body).version[:MAX_VERSION_TEXT])
    except DECODE_ERRORS as error:
        raise UnreadableError(str(error)) from error


def metrics(page: bytes) -> Facts:
    """Read the page of `GET /metrics`."""
    engines = sorted(read_engine_loads(page))
    # Of engines that are not all behind this URL (one API server for each, or for each host) it has others' numbers.
    own = len(engines) if engines == list(range(len(engines))) and engines else None
    return Facts(
        process_start=read_load_page(page).process_start,
        ranks=own,
        connector="nixl" if _NIXL_SERIES in b"\n" + page else None,
    )


def server_info(body: bytes) -> Facts:
    """Read the answer to `GET /server_info?config_format=json`. Raises UnreadableError."""
    try:
        told = _read_server_info(body)
    except DECODE_ERRORS as error:
        raise UnreadableError(str(error)) from error
    transfer = told.vllm_config.kv_transfer_config or _KvTransfer()
    parallel = told.vllm_config.parallel_config or _Parallel()
    connector = CONNECTORS.get(transfer.kv_connector or "")
    return Facts(
        role=_ROLES.get(transfer.kv_role or "") if connector is not None else None,
        connector=connector,
        bootstrap_port=_port(told.vllm_env.get("VLLM_MOONCAKE_BOOTSTRAP_PORT")) if connector == "mooncake" else None,
        dp_size=parallel.data_parallel_size,
        tp_size=parallel.tensor_parallel_size,
    )


def merged(before: Facts, now: Facts) -> Facts:
    """Return what is known after another answer of the same life."""
    told = {name: value for name in now.__struct_fields__ if (value := getattr(now, name)) is not None}
    return msgspec.structs.replace(before, **told)


def _port(value: object) -> int | None:
    # A number, or a text as an environment has it.
    text = str(value)
    return int(text) if re.fullmatch("[1-9][0-9]{0,4}", text) and int(text) <= 65535 else None
