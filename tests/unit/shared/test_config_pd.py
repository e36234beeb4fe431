"""Prefill and decode in the configuration: ports behind URLs, connectors, and what they need to know of workers."""

from __future__ import annotations

import pytest

from shared.config import StartConfig
from shared.config_faults import faults
from shared.config_roles import described
from shared.config_sources import resolve
from shared.transfer_attributes import TransferAttributes
from shared.worker_attributes import ConfiguredWorker

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
