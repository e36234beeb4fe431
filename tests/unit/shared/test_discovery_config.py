from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shared.config import StartConfig
from shared.config_settings import settings_of
from shared.discovery_config import discovery_addresses, discovery_problems, parse_discovery_address
from shared.plane_keys import write_new_pair


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
    assert settings_of(StartConfig(vllm_discovery_address=text)).disaggregated


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


def test_keys_and_their_address_go_together(tmp_path: Path) -> None:
    keys, bind = str(tmp_path), "8.8.8.8:30002"
    (said,) = texts(discovery_curve_address=bind)
    assert "give a folder with --discovery-keys" in said
    (said,) = texts(discovery_keys=keys)
    assert "has no effect without --discovery-curve-address" in said
    (said,) = texts(discovery_curve_address=bind, discovery_keys=keys)
    assert said.startswith("--discovery-keys: ")
    assert said.endswith(f"routerctl keys new --workers --dir {keys}")
    assert "server.key_secret" in said
    write_new_pair(tmp_path, "server")
    # By its key a worker is known wherever it comes from.
    assert texts(discovery_curve_address=bind, discovery_keys=keys) == []
    assert texts(discovery_curve_address=bind, discovery_keys=keys, discovery_allow=("8.0.0.0/8",)) == []
    (said,) = texts(discovery_curve_address="host:1", discovery_keys=keys)
    assert "--discovery-curve-address is 'host:1'" in said


def test_both_ports_are_told_apart(tmp_path: Path) -> None:
    write_new_pair(tmp_path, "server")
    given = {"vllm_discovery_address": "127.0.0.1:1", "discovery_keys": str(tmp_path)}
    (said,) = texts(**given, discovery_curve_address="127.0.0.1:1")
    assert "--vllm-discovery-address and --discovery-curve-address are both 1" in said
    config = StartConfig(vllm_discovery_address="127.0.0.1:1", discovery_curve_address="0.0.0.0:2")
    assert [address for _, address in discovery_addresses(config)] == [("127.0.0.1", 1), ("0.0.0.0", 2)]


def test_registrations_with_keys_alone_mean_no_prefill_and_decode() -> None:
    config = StartConfig(discovery_curve_address="0.0.0.0:2")
    assert config.takes_registrations
    assert not settings_of(config).disaggregated
