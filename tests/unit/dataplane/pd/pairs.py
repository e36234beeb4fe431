"""Pairings for tests of connectors."""

from __future__ import annotations

import json
import re
from typing import Any

from dataplane.pd.connector import Ask, Pairing, Peer
from shared.transfer import Transfer

KEY = "0123456789abcdef" * 2
BODY = b'{"model":"m", "prompt":"x","max_tokens":9,"stream":true,"stop":["a"],"stop_token_ids":[1]}'
P_ADDRESS = "host:10.0.0.1,handshake:6301,notify:61005"
D_ADDRESS = "host:10.0.0.2,handshake:6301,notify:61005"


_NOTHING = Transfer()


def pairing(prefill: Transfer = _NOTHING, decode: Transfer = _NOTHING, **changes: Any) -> Pairing:
    made = Pairing(
        path="/v1/completions",
        body=BODY,
        key=KEY,
        prefill=Peer("http://p:1", "http://p:1", transfer=prefill),
        decode=Peer("http://d:1", "http://d:1", transfer=decode),
    )
    return made._replace(**changes)


def params(ask: Ask) -> Any:
    return json.loads(bytes(ask.body))["kv_transfer_params"]


def fields(ask: Ask) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in ask.fields}


def with_rank(peer: Peer, rank: int) -> Peer:
    return peer._replace(id=f"{peer.url}@{rank}", rank=rank)


def moriio(mode: Any, **more: Any) -> tuple[Transfer, Transfer]:
    return Transfer(address=P_ADDRESS, mode=mode, **more), Transfer(address=D_ADDRESS, mode=mode, **more)


# As vLLM's `moriio_common.py` has them.
PREFILL_LABEL = re.compile(r"___prefill_addr_(.+?)___decode_addr_")
DECODE_LABEL = re.compile(r"___decode_addr_(.+)_[0-9a-f]{32}(?:-.*)?$")
