from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shared.config import (
    RANGES,
    ConfigError,
    StartConfig,
    check,
    check_worker_url,
    faults,
    join_address,
    plane_fingerprint,
    read_admin_token,
)


def changed(**values: object) -> StartConfig:
    return msgspec.structs.replace(StartConfig(), **values)


def test_the_defaults_are_right() -> None:
    check(StartConfig())


@pytest.mark.parametrize("field", ["host", "port", "shutdown_grace_secs"])
def test_what_a_plane_takes_at_its_start_is_in_its_fingerprint(field: str) -> None:
    values: dict[str, object] = {"host": "127.0.0.2", "port": 3, "shutdown_grace_secs": 1.5}
    assert plane_fingerprint(changed(**{field: values[field]})) != plane_fingerprint(StartConfig())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("policy", "random"),
        ("data_planes", 7),
        ("admin_port", 5),
        ("log_level", "debug"),
        ("worker_urls", ("http://a:1",)),
    ],
)
def test_what_travels_in_the_table_is_not(field: str, value: object) -> None:
    assert plane_fingerprint(changed(**{field: value})) == plane_fingerprint(StartConfig())


def test_join_address() -> None:
    assert join_address("127.0.0.1", 80) == "127.0.0.1:80"
    assert join_address("::1", 80) == "[::1]:80"


@pytest.mark.parametrize("url", ["http://a:1", "https://a", "http://[::1]:8000", "http://a.b.c:65535/"])
def test_worker_urls_that_work(url: str) -> None:
    check_worker_url("--worker-urls", url)


@pytest.mark.parametrize(
    "url",
    ["", "a:1", "http://", "ftp://a", "http://a:0", "http://a:99999", "http://u:p@a", "http://a/v1", "http://a?x=1"],
)
def test_worker_urls_that_do_not(url: str) -> None:
    with pytest.raises(ConfigError, match="--worker-urls has "):
        check_worker_url("--worker-urls", url)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@a:1",
        "http://user:secret@a:99999",
        "http://user:secret@a:x",
        "http://user:secret@[a",
        "http://user:secret@a\u2100b",
        "http://user:secret@a:0",
        "http://user:secret@",
        "http://user:sec/ret@a",
        "ftp://user:secret@a",
        "user:secret@a:8000",
        "http://user:secret@a/v1",
    ],
)
def test_a_password_in_a_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="--worker-urls has ") as caught:
        check_worker_url("--worker-urls", url)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data_planes": 0}, "--data-planes is 0; write a number from 1 to 256"),
        ({"plane_affinity": "gpu"}, "--plane-affinity is 'gpu'; choose one of: core, none"),
        ({"log_level": "loud"}, "--log-level is 'loud'; choose one of: debug, info"),
        ({"health_check_endpoint": "health"}, "write a path that starts with /"),
        ({"worker_urls": ("http://a:1", "http://a:1")}, "names http://a:1 twice"),
        ({"admin_port": 29000}, "--admin-port and --prometheus-port are both 29000"),
        ({"request_id_headers": ("x y",)}, "--request-id-headers has 'x y'"),
    ],
)
def test_wrong_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(changed(**values))
    assert message in str(caught.value)


def test_every_number_has_a_range() -> None:
    numbers = {field.name for field in msgspec.structs.fields(StartConfig) if field.type in (int, float)}
    assert set(RANGES) == numbers


def test_everything_wrong_is_found_and_the_first_is_raised() -> None:
    config = changed(port=0, worker_urls=("a:1", "http://b", "http://b/"), policy="best", worker_ca_file="")
    found = list(faults(config))
    assert [fault.fields for fault in found] == [
        ("port",),
        ("worker_urls",),
        ("worker_urls",),
        ("policy",),
        ("worker_ca_file",),
    ]
    assert [fault.value for fault in found] == [None, "a:1", "http://b/", None, None]
    with pytest.raises(ConfigError, match=r"^--port is 0; "):
        check(config)


def test_paths_mean_the_same_for_a_process_that_was_started_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = StartConfig(
        worker_ca_file="ca.pem", worker_client_cert="/own.pem", runtime_dir="run"
    ).with_absolute_paths()
    assert config.settings().worker_ca_file == f"{tmp_path}/ca.pem"
    assert config.settings().worker_client_cert == "/own.pem"
    assert config.settings().worker_client_key is None
    assert config.runtime_dir == f"{tmp_path}/run"
    assert config.with_absolute_paths() == config


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.0.1", "::1"])
def test_on_loopback_the_admin_api_needs_no_token(host: str) -> None:
    check(changed(admin_host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::"])
def test_elsewhere_it_does(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--admin-token-file"):
        check(changed(admin_host=host))
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    check(changed(admin_host=host, admin_token_file=str(token)))


@pytest.mark.parametrize("content", ["", "\n", "secret", "s" * 1025, "secret secret secret", "secrétsecrétsecrét"])
def test_a_token_that_is_none_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_admin_token("--admin-token-file", token)
    assert "16 to 1024" in str(caught.value)
    assert "secr" not in str(caught.value).replace(str(tmp_path), "")
    token.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        read_admin_token("--admin-token-file", token)
