from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shared.config import StartConfig
from shared.config_faults import RANGES, faults
from shared.plane_keys import write_new_pair


def texts(**values: object) -> list[str]:
    return [fault.text for fault in faults(msgspec.structs.replace(StartConfig(), **values))]


def test_the_defaults_are_right() -> None:
    assert texts() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data_planes": 0}, "--data-planes is 0; write a number from 1 to 256"),
        ({"plane_affinity": "gpu"}, "--plane-affinity is 'gpu'; choose one of: core, none"),
        ({"log_level": "inof"}, "--log-level is 'inof'; did you mean info? Choose one of: debug, info"),
        ({"policy": "weighted"}, "--policy is 'weighted'; weights are workers' own (`weight` in [[workers]]"),
        ({"policy": "rendezvous-hash"}, "consistent_hash keeps sessions at their workers in the same way. Choose one"),
        ({"log_level": "loud"}, "--log-level is 'loud'; choose one of: debug, info"),
        ({"health_check_endpoint": "health"}, "write a path that starts with /"),
        ({"worker_urls": ("http://a:1", "http://a:1")}, "names http://a:1 twice"),
        ({"admin_port": 29000}, "--admin-port and --prometheus-port are both 29000"),
        ({"request_id_headers": ("x y",)}, "--request-id-headers has 'x y'"),
    ],
)
def test_wrong_values(values: dict[str, object], message: str) -> None:
    (text,) = texts(**values)
    assert message in text


def keys(folder: Path) -> str:
    write_new_pair(folder, "server")
    return str(folder)


def test_other_hosts_are_let_in_with_keys(tmp_path: Path) -> None:
    folder = keys(tmp_path)
    for bind in ("tcp://0.0.0.0:30100", "tcp://[::]:30100", "tcp://127.0.0.1:65534"):
        assert texts(control_bind=bind, control_keys=folder) == []


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        ("tcp://router.example:30100", "write an IP address to listen on"),
        ("0.0.0.0:30100", "write tcp://HOST:PORT"),
        ("tcp://0.0.0.0:65535", "the next one is used, too"),
        ("tcp://0.0.0.0:30000", "uses ports 30000 and 30001, and --port is 30000"),
        ("tcp://0.0.0.0:30079", "uses ports 30079 and 30080, and --admin-port is 30080"),
    ],
)
def test_where_other_hosts_can_not_be_let_in(tmp_path: Path, bind: str, message: str) -> None:
    (text,) = texts(control_bind=bind, control_keys=keys(tmp_path))
    assert message in text


def test_without_keys_no_other_host_is_let_in(tmp_path: Path) -> None:
    for none in (None, ""):
        (text,) = texts(control_bind="tcp://0.0.0.0:30100", control_keys=none)
        assert "give a folder with --control-keys" in text
        assert "routerctl keys new --dir FOLDER" in text
    (text,) = texts(control_keys=keys(tmp_path))
    assert "no effect without --control-bind" in text
    (tmp_path / "server.key_secret").chmod(0o644)
    (text,) = texts(control_bind="tcp://0.0.0.0:30100", control_keys=str(tmp_path))
    assert f"run: chmod 600 {tmp_path}/server.key_secret" in text


def test_every_number_has_a_range() -> None:
    numbers = {field.name for field in msgspec.structs.fields(StartConfig) if field.type in (int, float)}
    assert set(RANGES) == numbers


def test_everything_wrong_is_found() -> None:
    config = StartConfig(port=0, worker_urls=("a:1", "http://b", "http://b/"), policy="best", worker_ca_file="")
    found = list(faults(config))
    assert [fault.fields for fault in found] == [
        ("port",),
        ("worker_urls",),
        ("worker_urls",),
        ("policy",),
        ("worker_ca_file",),
    ]
    assert [fault.value for fault in found] == [None, "a:1", "http://b/", None, None]
    assert found[0].text.startswith("--port is 0; ")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.0.1", "::1"])
def test_on_loopback_the_admin_api_needs_no_token(host: str) -> None:
    assert texts(admin_host=host) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::"])
def test_elsewhere_it_does(host: str, tmp_path: Path) -> None:
    (text,) = texts(admin_host=host)
    assert "--admin-token-file" in text
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    assert texts(admin_host=host, admin_token_file=str(token)) == []
