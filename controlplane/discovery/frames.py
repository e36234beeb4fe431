"""Reads the messages by which workers register. Pure; whatever the bytes are, the only error is `RefusedError`.

vLLM's P2pNcclConnector (0.9.2 to 0.23) and its MoRIIOConnector (from 0.14) send one msgpack map every 3 s:

    {"type": "P"|"D", "http_address": "IP:PORT", "zmq_address": "IP:PORT"}
    {"type": "P"|"D", "http_address": "IP:PORT", "zmq_address": "host:IP,handshake:PORT,notify:PORT",
     "transfer_mode": "READ"|"WRITE", "dp_size": N, "tp_size": N}

MoRIIO begins with {"type": "HELLO"}. Version 2 is `shared.registration`'s. Fields that are not known are left alone.
What stands in `zmq_address` becomes part of request ids, so nothing but these two forms is taken.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from controlplane.discovery.discovered import Announced
from controlplane.discovery.networks import Networks, read_address
from controlplane.discovery.refusals import RefusedError, shown
from controlplane.discovery.registration import Registration
from shared.config import join_address
from shared.decoding import DECODE_ERRORS
from shared.registration import Announcement
from shared.table import Role
from shared.transfer import Transfer, TransferMode
from shared.worker_attributes import WorkerAttributes
from shared.worker_url import origin

MAX_MESSAGE = 4096
"""Bytes; vLLM's have 65 to 200."""
MAX_DP_SIZE = 64
MAX_TP_SIZE = 1024

_ROLES: dict[str, Role] = {"P": "prefill", "D": "decode"}
_MODES: dict[str, TransferMode] = {"READ": "read", "WRITE": "write"}
_MORIIO = re.compile(r"host:([^,]{1,45}),handshake:([0-9]{1,5}),notify:([0-9]{1,5})").fullmatch


class _Map(msgspec.Struct):
    type: str
    http_address: str = ""
    zmq_address: str = ""
    transfer_mode: str | None = None
    dp_size: int = 1
    tp_size: int = 1


_read_map = msgspec.msgpack.Decoder(_Map).decode


def registration_of(told: Announcement, peer: str, networks: Networks) -> Registration:
    """Return what a message of version 2 from `peer` says. Raises RefusedError."""
    networks.check_named(origin(told.url)[1], peer)
    if told.transfer is not None:
        _check_transfer(told.transfer, peer, networks)
    return Registration(
        url=told.url.rstrip("/"),
        ranks=told.ranks,
        announced=Announced(
            attributes=WorkerAttributes(
                role=told.role,
                labels=dict(told.labels),
                weight=told.weight,
                capacity=told.capacity,
                max_concurrent_requests=told.max_concurrent_requests,
                priority=told.priority,
            ),
            transfer=told.transfer,
        ),
        life=str(told.epoch),
        interval=told.interval,
        registrar=told.registrar,
        seq=told.seq,
    )


def read_message(payload: bytes, peer: str, networks: Networks) -> Registration | Literal["hello"]:
    """Return what a message of vLLM's from `peer` (an IP address) says. Raises RefusedError."""
    if len(payload) > MAX_MESSAGE:
        raise RefusedError("oversized", f"it has {len(payload)} bytes; at most {MAX_MESSAGE} are read")
    try:
        told = _read_map(payload)
    except DECODE_ERRORS as error:
        raise RefusedError("malformed", f"it is no registration of vLLM: {error}") from None
    if told.type == "HELLO":
        return "hello"
    role = _ROLES.get(told.type)
    if role is None:
        raise RefusedError("type", f"its type is {shown(told.type)}; P, D and HELLO are known")
    http_host, http_port = _split(told.http_address, "http_address")
    networks.check_named(http_host, peer)
    return Registration(
        url=f"http://{join_address(http_host, http_port)}",
        ranks=_size("dp_size", told.dp_size, MAX_DP_SIZE) if told.transfer_mode is not None else None,
        announced=Announced(attributes=WorkerAttributes(role=role), transfer=_transfer(told, peer, networks)),
    )


def _transfer(told: _Map, peer: str, networks: Networks) -> Transfer:
    if told.transfer_mode is None:
        host, port = _split(told.zmq_address, "zmq_address")
        networks.check_named(host, peer)
        return Transfer(connector="nccl", address=join_address(host, port))
    mode = _MODES.get(told.transfer_mode)
    if mode is None:
        raise RefusedError("malformed", f"its transfer_mode is {shown(told.transfer_mode)}; READ and WRITE are known")
    _check_moriio(told.zmq_address, peer, networks)
    return Transfer(
        connector="moriio",
        address=told.zmq_address,
        mode=mode,
        dp_size=_size("dp_size", told.dp_size, MAX_DP_SIZE),
        tp_size=_size("tp_size", told.tp_size, MAX_TP_SIZE),
    )


def _check_transfer(told: Transfer, peer: str, networks: Networks) -> None:
    """Refuse addresses that the planes would write into request ids and that are none."""
    if told.connector == "moriio" and told.address:
        _check_moriio(told.address, peer, networks)
    elif told.connector == "nccl" and told.address:
        networks.check_named(_split(told.address, "transfer.address")[0], peer)


def _check_moriio(text: str, peer: str, networks: Networks) -> None:
    parts = _MORIIO(text)
    if parts is None or not all(1 <= int(port) <= 65535 for port in parts.groups()[1:]):
        raise RefusedError("address", f"its zmq_address is {shown(text)}, not host:IP,handshake:PORT,notify:PORT")
    networks.check_named(parts[1], peer)


def _split(text: str, name: str) -> tuple[str, int]:
    """Return host and port. vLLM writes an IPv6 address without brackets."""
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    address = read_address(host)
    if address is None or not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise RefusedError("address", f"its {name} is {shown(text)}, not IP:PORT")
    return str(address), int(port)


def _size(name: str, value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise RefusedError("sizes", f"its {name} is {value}; 1 to {most} can be")
    return value
