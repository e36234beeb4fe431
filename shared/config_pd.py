"""What is wrong about prefill and decode in the configuration: the connector, and what it needs to know of workers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.config import StartConfig
from shared.config_fields import nearest
from shared.config_roles import described
from shared.fault import Fault
from shared.transfer import AUTO
from shared.transfer_attributes import ADDRESSES, NUMBERS
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
            elif config.kv_connector in (AUTO, *KV_CONNECTORS) and config.kv_connector != "mooncake":
                what = f"--prefill has {text}, the port of a Mooncake bootstrap server, and --kv-connector is"
                hint = "leave the port out, or use mooncake"
                yield Fault(("prefill", "kv_connector"), f"{what} {config.kv_connector}; {hint}", text)
        before = text


def _address_faults(config: StartConfig) -> Iterator[Fault]:
    form = ADDRESSES[config.kv_connector]
    told = {
        origin(one.url)
        for one in described(config)
        if one.transfer is not None and re.fullmatch(form, one.transfer.address or "")
    }
    needs_mode = config.kv_connector == "moriio"
    modes = {origin(one.url) for one in described(config) if one.transfer is not None and one.transfer.mode}
    for field, urls in (("prefill", config.prefill_urls), ("decode", config.decode)):
        for url in urls:
            try:
                place = origin(url)
            except ValueError:
                # It is refused for what it is.
                continue
            if place not in told or (needs_mode and place not in modes):
                needed = 'transfer = { address = "' + _EXAMPLES[config.kv_connector]
                yield Fault(
                    (field, "kv_connector"),
                    f"--{field} has {url}, and with --kv-connector {config.kv_connector} its address for KV transfers "
                    f"must be known; write {needed} in its [[workers]] table, or have it register "
                    "(--vllm-discovery-address)",
                    url,
                )
