"""What is known of how a worker moves KV cache: what its peers need to reach it, and what makes a pair of two fit.

All of it is told: by registrations (`controlplane.discovery`), by the configuration, or by the worker itself. The
connectors of planes (`dataplane.pd`) read it and decide nothing else by it.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

TransferMode = Literal["read", "write"]
BOOTSTRAP_PORT = 8998
"""Of Mooncake's bootstrap servers, unless vLLM is told another one (VLLM_MOONCAKE_BOOTSTRAP_PORT)."""

AUTO = "auto"
"""`--kv-connector` of those who leave it to what workers announce. Planes never hear it."""


class Transfer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A worker's side of KV transfers. What is not known is "" or None.

    `connector` is the router's name of it (`--kv-connector`). `address` is what stands in a labelled request id, as
    the worker told it: `host:port` for P2pNccl, `host:IP,handshake:PORT,notify:PORT` for MoRIIO. `mode` is MoRIIO's:
    the decode worker reads, or the prefill worker writes. `bootstrap_port` is that of Mooncake's bootstrap server on
    the worker's host, and `engine_ids` what that server told, by data-parallel rank; they change with each of the
    worker's lives. `dp_size` and `tp_size` are the numbers of data-parallel and tensor-parallel ranks.
    """

    connector: str = ""
    address: str = ""
    mode: TransferMode | None = None
    bootstrap_port: int | None = None
    engine_ids: dict[str, str] = {}
    dp_size: int | None = None
    tp_size: int | None = None


def bootstrap_url(url: str, port: int) -> str:
    """Return where the bootstrap server of the worker at `url` is: on its host, without TLS."""
    host = urlsplit(url).hostname or ""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
