from __future__ import annotations

import msgspec
import pytest

from shared.config import StartConfig
from shared.discovery_config import discovery_problems, parse_discovery_address


def texts(**values: object) -> list[str]:
    return [text for _, text, _ in discovery_problems(msgspec.structs.replace(StartConfig(), **values))]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:30001", ("0.0.0.0", 30001)),
        ("localhost:1", ("127.0.0.1", 1)),
        ("tcp://10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[::]:30001", ("::", 30001)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_discovery_address(text) == address
    assert texts(vllm_discovery_address=text) == []
    assert StartConfig(vllm_discovery_address=text).settings().disaggregated


@pytest.mark.parametrize(
    "text", ["", "30001", "host:1", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "::1:30001", "[::1]"]
)
def test_wrong_addresses(text: str) -> None:
    (said,) = texts(vllm_discovery_address=text)
    assert "write ADDRESS:PORT, such as 0.0.0.0:30001" in said


def test_wrong_networks() -> None:
    (said,) = texts(vllm_discovery_address="0.0.0.0:30001", discovery_allow=("10.0.0.0/8", "10.0.0.1/8"))
    assert "--discovery-allow has '10.0.0.1/8'" in said
    assert "write networks, such as 10.0.0.0/8" in said


def test_a_public_address_needs_networks() -> None:
    (said,) = texts(vllm_discovery_address="8.8.8.8:30001")
    assert "name the workers' networks with --discovery-allow" in said
    assert texts(vllm_discovery_address="8.8.8.8:30001", discovery_allow=("8.8.0.0/16",)) == []


def test_what_does_not_fit_together() -> None:
    assert "has no effect" in texts(discovery_allow=("10.0.0.0/8",))[0]
    assert "are both 30000" in texts(vllm_discovery_address="0.0.0.0:30000")[0]
