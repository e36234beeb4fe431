"""Prefill and decode in the configuration: ports behind URLs, connectors, and what they need to know of workers."""

from __future__ import annotations

from typing import Any

import pytest

from shared.config import StartConfig
from shared.config_faults import faults
from shared.config_pd import misspelt_connector, worker_fault
from shared.config_roles import described
from shared.config_sources import resolve
from shared.table import Role
from shared.transfer_attributes import TransferAttributes
from shared.worker_attributes import ConfiguredWorker, WorkerAttributes

P, D = "http://p:1", "http://d:1"


def texts(config: StartConfig) -> list[str]:
    return [fault.text for fault in faults(config)]


def test_a_port_behind_a_url_is_that_of_its_bootstrap_server() -> None:
    config = resolve({"prefill": [P, "9000", "http://q:1", "none"], "kv_connector": "mooncake"}, {})
    assert config.prefill_urls == (P, "http://q:1")
    assert config.all_urls == (P, "http://q:1")
    said = {worker.url: worker for worker in described(config)}
    assert said[P].transfer == TransferAttributes(bootstrap_port=9000)
    assert said["http://q:1"].transfer is None
    assert {worker.role for worker in said.values()} == {"prefill"}


def test_a_port_of_the_flag_lies_over_the_rest_of_a_table() -> None:
    table = ConfiguredWorker(url=P, transfer=TransferAttributes(bootstrap_port=1, tp_size=2))
    config = StartConfig(prefill=(P, "9000"), kv_connector="mooncake", workers=(table,))
    (worker,) = described(config)
    assert worker.transfer == TransferAttributes(bootstrap_port=9000, tp_size=2)


@pytest.mark.parametrize(
    ("prefill", "connector", "complaint"),
    [
        (("9000",), "mooncake", "behind no URL"),
        ((P, "9000", "9001"), "mooncake", "behind no URL"),
        ((P, "70000"), "mooncake", "from 1 to 65535"),
        ((P, "9000"), "nixl", "leave the port out, or use mooncake"),
        ((P,), "moonkake", "did you mean mooncake?"),
    ],
)
def test_what_can_not_be_meant_is_refused(prefill: tuple[str, ...], connector: str, complaint: str) -> None:
    (text,) = texts(StartConfig(prefill=prefill, kv_connector=connector))
    assert complaint in text


def worker(url: str, **transfer: object) -> ConfiguredWorker:
    return ConfiguredWorker(url=url, transfer=TransferAttributes(**transfer))  # type: ignore[arg-type]


def test_moriio_needs_the_addresses_of_workers_that_do_not_register() -> None:
    config = StartConfig(prefill=(P,), decode=(D,), kv_connector="moriio")
    assert [P in text or D in text for text in texts(config)] == [True, True]
    assert "[[workers]]" in texts(config)[0]
    address = "host:10.0.0.1,handshake:1,notify:2"
    tables = (worker(P, address=address), worker(D, address=address))
    assert len(texts(StartConfig(prefill=(P,), decode=(D,), kv_connector="moriio", workers=tables))) == 2
    tables = (worker(P, address=address, mode="read"), worker(D, address=address, mode="read"))
    assert texts(StartConfig(prefill=(P,), decode=(D,), kv_connector="moriio", workers=tables)) == []
    assert texts(StartConfig(vllm_pd_disaggregation=True, kv_connector="moriio")) == []
    registering = StartConfig(prefill=(P,), kv_connector="moriio", vllm_discovery_address="127.0.0.1:30001")
    assert texts(registering) == []


@pytest.mark.parametrize(
    ("connector", "role", "transfer", "complaint"),
    [
        ("nixl", "decode", None, None),
        ("nixl", "prefill", {"bootstrap_port": 8998}, "--kv-connector is nixl; leave the port out, or use mooncake"),
        ("auto", "prefill", {"bootstrap_port": 8998}, "--kv-connector is auto; leave the port out, or use mooncake"),
        ("mooncake", "prefill", {"bootstrap_port": 8998}, None),
        ("own:Class", "prefill", {"bootstrap_port": 8998}, None),
        ("nccl", "decode", None, "(`routerctl workers add` has --transfer-address)"),
        ("nccl", "regular", None, None),
        ("nccl", None, None, None),
        ("nccl", "decode", {"address": "h:1"}, None),
        ("nccl", "decode", {"address": "host:h,handshake:1,notify:2"}, "its address for KV transfers must be known"),
        ("moriio", "prefill", {"address": "host:h,handshake:1,notify:2"}, "--transfer-address and --transfer-mode"),
        ("moriio", "prefill", {"address": "host:h,handshake:1,notify:2", "mode": "read"}, None),
    ],
)
def test_what_is_added_later_is_held_to_the_same(
    connector: str, role: Role | None, transfer: dict[str, Any] | None, complaint: str | None
) -> None:
    said = WorkerAttributes(role=role, transfer=None if transfer is None else TransferAttributes(**transfer))
    fault = worker_fault(StartConfig(kv_connector=connector), said)
    assert fault is None if complaint is None else fault is not None and complaint in fault


def test_who_registers_tells_its_address_later() -> None:
    config = StartConfig(kv_connector="nccl", vllm_discovery_address="127.0.0.1:30001")
    assert worker_fault(config, WorkerAttributes(role="decode")) is None


def test_only_a_name_that_is_nearly_one_of_the_routers_own_is_taken_for_a_slip() -> None:
    meant = {"nixle": "nixl", "Nixl": "nixl", "nixl-push": "nixl_push", "mooncacke": "mooncake"}
    assert {name: misspelt_connector(name) for name in meant} == meant
    assert not any(map(misspelt_connector, ["", "nixl", "tagged", "nixl:Class", "my.nixl"]))
