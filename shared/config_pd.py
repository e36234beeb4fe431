"""What is wrong about prefill and decode in the configuration: the connector, and what it needs to know of workers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.config import StartConfig
from shared.config_fields import nearest
from shared.config_roles import described
from shared.fault import Fault
from shared.transfer import AUTO
from shared.transfer_attributes import ADDRESSES, NUMBERS, TransferAttributes
from shared.worker_attributes import WorkerAttributes
from shared.worker_url import origin

KV_CONNECTORS = ("nixl", "nixl_push", "mooncake", "moriio", "nccl", "example", "lmcache")
"""The router's own, by name."""
_EXAMPLES = {"nccl": 'host:21001" }', "moriio": 'host:IP,handshake:6301,notify:61005", mode = "read" }'}
"""Of those whose workers find each other by addresses in the request's id."""


def pd_faults(config: StartConfig) -> Iterator[Fault]:
    """Yield everything that can not work."""
    yield from _connector_faults(config.kv_connector)
    yield from _port_faults(config)
    # Who registers tells its address, also one that is named here.
    if config.kv_connector in _EXAMPLES and not config.takes_registrations:
        yield from _address_faults(config)


def misspelt_connector(name: str) -> str | None:
    """Return which of the router's own connectors is meant by a name that is nearly its; None for all others."""
    return None if name in KV_CONNECTORS or "." in name or ":" in name else nearest(name.lower(), KV_CONNECTORS)


def _connector_faults(name: str) -> Iterator[Fault]:
    if name in (AUTO, *KV_CONNECTORS):
        return
    # Only for those who use one: it takes a while to import.
    from shared.connector_plugins import MODULE_AND_CLASS, PluginError, connector_names, load_connector_class

    installed = connector_names()
    if name in installed or re.fullmatch(MODULE_AND_CLASS, name):
        try:
            load_connector_class(name)
        except PluginError as error:
            yield Fault(("kv_connector",), f"--kv-connector: {error}")
        return
    known = (AUTO, *KV_CONNECTORS, *installed)
    near = nearest(name, known)
    hint = f"did you mean {near}? There are" if near else "choose one of:"
    yield Fault(
        ("kv_connector",), f"--kv-connector is {name!r}; {hint} {', '.join(known)}, or module:Class for your own"
    )


def _port_faults(config: StartConfig) -> Iterator[Fault]:
    before = ""
    for text in config.prefill:
        if text.isdigit():
            if not before or before.isdigit():
                yield Fault(("prefill",), f"--prefill has the port {text} behind no URL; write URL PORT", text)
            elif not 1 <= int(text) <= NUMBERS["bootstrap_port"]:
                yield Fault(("prefill",), f"--prefill has the port {text}; write one from 1 to 65535", text)
            elif (fault := _useless_port(config.kv_connector, text)) is not None:
                yield Fault(("prefill", "kv_connector"), f"--prefill has {fault}", text)
        before = text


def _useless_port(connector: str, port: object) -> str | None:
    if connector == "mooncake" or connector not in (AUTO, *KV_CONNECTORS):
        return None
    hint = "leave the port out, or use mooncake"
    return f"{port}, the port of a Mooncake bootstrap server, and --kv-connector is {connector}; {hint}"


def is_reachable(connector: str, said: TransferAttributes | None) -> bool:
    """Whether enough is said of how a worker moves KV cache where workers find each other by their addresses."""
    if connector not in _EXAMPLES:
        return True
    has_address = said is not None and re.fullmatch(ADDRESSES[connector], said.address or "") is not None
    return has_address and (connector != "moriio" or (said is not None and said.mode is not None))


def worker_fault(config: StartConfig, said: WorkerAttributes) -> str | None:
    """Return why a worker that is added can not serve by the configuration, as a start with it would be refused."""
    if said.role not in ("prefill", "decode"):
        return None
    connector, port = config.kv_connector, said.transfer.bootstrap_port if said.transfer is not None else None
    if port is not None and (fault := _useless_port(connector, port)) is not None:
        return f"It has {fault}."
    if config.takes_registrations or is_reachable(connector, said.transfer):
        return None
    flags = "--transfer-address and --transfer-mode" if connector == "moriio" else "--transfer-address"
    return (
        f"With --kv-connector {connector} its address for KV transfers must be known; write "
        f'transfer = {{ address = "{_EXAMPLES[connector]} (`routerctl workers add` has {flags}).'
    )


def _address_faults(config: StartConfig) -> Iterator[Fault]:
    told = {origin(one.url) for one in described(config) if is_reachable(config.kv_connector, one.transfer)}
    for field, urls in (("prefill", config.prefill_urls), ("decode", config.decode)):
        for url in urls:
            try:
                place = origin(url)
            except ValueError:
                # It is refused for what it is.
                continue
            if place not in told:
                needed = 'transfer = { address = "' + _EXAMPLES[config.kv_connector]
                yield Fault(
                    (field, "kv_connector"),
                    f"--{field} has {url}, and with --kv-connector {config.kv_connector} its address for KV transfers "
                    f"must be known; write {needed} in its [[workers]] table, or have it register "
                    "(--vllm-discovery-address)",
                    url,
                )
