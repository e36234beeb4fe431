"""How a worker moves KV cache, as its operator says: what it would tell by itself if it registered.

What is said here lies over what a worker tells (`shared.transfer.Transfer`), part by part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec

from shared.transfer import Transfer, TransferMode

MAX_ADDRESS = 256
MAX_PARALLEL = 1024
"""Tensor-parallel or data-parallel ranks of one worker."""
NUMBERS = {"bootstrap_port": 65535, "dp_size": MAX_PARALLEL, "tp_size": MAX_PARALLEL}
"""The most of each; the least is 1."""

ADDRESSES = {
    "nccl": r"[!-+\--~]+:\d{1,5}",
    "moriio": r"host:[!-+\--~]+,handshake:\d{1,5},notify:\d{1,5}",
}
"""Their form, by connector."""
_is_text = re.compile(rf"[!-~]{{1,{MAX_ADDRESS}}}").fullmatch
_is_address = re.compile("|".join(ADDRESSES.values())).fullmatch


class TransferAttributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What somebody says of it; None is nothing. The fields are those of `Transfer`."""

    connector: str | None = None
    address: str | None = None
    mode: TransferMode | None = None
    bootstrap_port: int | None = None
    dp_size: int | None = None
    tp_size: int | None = None


def told_and_said(told: Transfer | None, *said: TransferAttributes | None) -> Transfer | None:
    """Return what holds when a worker tells `told`, and others say more, the last of whom counts most."""
    parts = {
        name: value
        for one in said
        if one is not None
        for name in one.__struct_fields__
        if (value := getattr(one, name)) is not None
    }
    return msgspec.structs.replace(told or Transfer(), **parts) if parts else told


def wrong_transfer(value: Any) -> Iterator[str]:
    """Yield what can not work, as `shared.worker_attributes.wrong_attributes` does."""
    if not isinstance(value, Mapping):
        yield f"is {value!r}; write a table, such as {{ bootstrap_port = 8998 }}"
        return
    known = TransferAttributes.__struct_fields__
    for key, one in value.items():
        if key not in known:
            yield f"has {key!r}; it may have {', '.join(known)}"
        elif key in NUMBERS:
            if type(one) is not int or not 1 <= one <= NUMBERS[key]:
                yield f"has {key} = {one!r}; write a whole number from 1 to {NUMBERS[key]}"
        elif key == "mode":
            if one not in get_args(TransferMode):
                yield f"has mode = {one!r}; choose one of: {', '.join(get_args(TransferMode))}"
        elif not isinstance(one, str) or not _is_text(one):
            yield f"has {key} = {one!r}; write a text of at most {MAX_ADDRESS} visible ASCII characters"
        elif key == "address" and not _is_address(one):
            yield f"has address = {one!r}; write host:port (nccl), or host:IP,handshake:PORT,notify:PORT (moriio)"
