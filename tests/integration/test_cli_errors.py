"""Whatever is wrong with a command line: one line that says what, where and what instead, and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.commands import routerctl


@pytest.mark.parametrize(
    ("arguments", "environment", "parts"),
    [
        ("start --prot 5", {}, ["unknown flag --prot", "--port"]),
        ("start --port", {}, ["--port needs a value"]),
        ("start --port abc", {}, ["--port is 'abc'", "a whole number"]),
        ("start --port=", {}, ["--port is ''", "a whole number"]),
        ("start --policy=", {}, ["--policy is ''", "round_robin"]),
        ("start --policy nobody:Policy", {}, ["nobody", "can not be imported", "PYTHONPATH"]),
        ("start --worker-urls http://a:80 http://A/", {}, ["http://a:80 and http://A/, which are the same"]),
        ("start --port 0", {}, ["--port is 0", "from 1 to 65535"]),
        ("start", {"ROUTERCTL_PORT": "70000"}, ["ROUTERCTL_PORT is 70000", "from 1 to 65535"]),
        ("start --config wrong.toml", {}, ["wrong.toml:2: policy is 'best'", "round_robin"]),
        ("start", {"ROUTERCTL_CONFIG": "unknown.toml"}, ["unknown.toml:1: unknown key 'polcy'", "policy"]),
        ("start --config absent.toml", {}, ["absent.toml", "No such file"]),
        ("start --config .", {}, ["--config .", "Is a directory"]),
        ("start --wasm-middleware a", {}, ["--wasm-middleware of vllm-router is not offered", "in a proxy"]),
        ("start --selector a=b", {}, ["--selector has no effect without --service-discovery"]),
        ("start --service-discovery", {}, ["--service-discovery has no selector", "--selector app=vllm"]),
        ("start --worker-urls localhost:8000", {}, ["--worker-urls has 'localhost:8000'", "http://localhost:8000"]),
        ("start --worker-ca-file absent.pem", {}, ["--worker-ca-file absent.pem: No such file", "PEM"]),
        ("start --worker-ca-file=", {}, ["--worker-ca-file is empty"]),
        ("start", {"ROUTERCTL_WORKER_CA_FILE": "wrong.toml"}, ["ROUTERCTL_WORKER_CA_FILE wrong.toml holds no cert"]),
        ("start --worker-client-key wrong.toml", {}, ["--worker-client-key is given without --worker-client-cert"]),
        ("start --config tls.toml", {}, ["tls.toml:1: worker_client_cert tls.toml holds no certificate in PEM"]),
        ("start --worker-server-name a/b", {}, ["--worker-server-name is 'a/b'", "vllm.internal"]),
        ("start --watch-config", {}, ["--watch-config is given, but no file to watch", "--config"]),
        ("start", {"ROUTERCTL_WATCH_CONFIG": "true"}, ["ROUTERCTL_WATCH_CONFIG is given", "--config"]),
        ("config apply absent.toml", {}, ["absent.toml: No such file"]),
        ("start now", {}, ["unexpected argument 'now'"]),
        ("demo --prot 5", {}, ["unknown flag --prot", "--port"]),
        ("demo --port abc", {}, ["--port is 'abc'"]),
        ("demo --worker-urls http://a:1", {}, ["the demo simulates its workers"]),
        ("status --jsn", {}, ["--jsn"]),
        ("status --admin localhost", {}, ["--admin", "http://host:port"]),
        ("config shw", {}, ["shw", "show"]),
        ("config show --prot 5", {}, ["unknown flag --prot", "--port"]),
        ("config show --port abc", {}, ["--port is 'abc'"]),
        ("config check", {}, ["FILE"]),
        ("config diff wrong.toml absent.toml", {}, ["absent.toml: No such file"]),
        ("reload --admin localhost", {}, ["--admin", "http://host:port"]),
        ("sim --prot 5", {}, ["--prot"]),
        ("strat", {}, ["no such command 'strat'; did you mean start?"]),
        ("frob", {}, ["no such command 'frob'", "`routerctl --help` lists all"]),
        ("workers drain 127.0.0.1:19101", {}, ["URL has '127.0.0.1:19101'", "http://127.0.0.1:19101"]),
        ("workers add nope", {}, ["URL has 'nope'", "the scheme is missing"]),
        ("workers add http://a:1 --weight -1", {}, ["weight is -1.0", "from 0 to 1000"]),
        ("workers add http://a:1 --bootstrap-port 0", {}, ["bootstrap_port = 0", "from 1 to 65535"]),
        ("start --kv-connector moonkake", {}, ["--kv-connector is 'moonkake'", "did you mean mooncake?"]),
        ("workers add http://a:1 --label zone", {}, ["label is 'zone'", "NAME=TEXT"]),
        ("workers list --label zone", {}, ["label is 'zone'", "NAME=TEXT"]),
        ("workers weight http://a:1 -1", {}, ["weight is -1.0", "from 0 to 1000"]),
        ("workers priority http://a:1 -1", {}, ["priority is -1", "a whole number from 0"]),
        ("workers capacity http://a:1 0", {}, ["capacity is 0.0", "from 0.001 to 1000000"]),
        ("workers capacity http://a:1 nan", {}, ["capacity is nan"]),
        ("workers weight http://a:1 1 --jsn", {}, ["--jsn"]),
        ("workers label http://a:1 -x=1", {}, ["-x"]),
        ("planes restart x", {}, ["SLOT is 'x'", "`routerctl planes list`"]),
        ("planes restart -1", {}, ["SLOT is '-1'", "`routerctl planes list`"]),
        ("planes restart --jsn", {}, ["unknown flag --jsn"]),
        ("--colour", {}, ["--colour"]),
    ],
)
def test_wrong_usage(arguments: str, environment: dict[str, str], parts: list[str], tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('port = 31000\npolicy = "best"\n')
    (tmp_path / "tls.toml").write_text('worker_client_cert = "tls.toml"\n')
    (tmp_path / "unknown.toml").write_text("polcy = 1\n")
    result = routerctl(*arguments.split(), cwd=tmp_path, **environment)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("routerctl: error: ")
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--help",
        "start --help",
        "status --help",
        "demo --help",
        "sim --help",
        "config",
        "config show --help",
        "reload --help",
        "keys --help",
        "workers --help",
    ],
)
def test_help(arguments: str, tmp_path: Path) -> None:
    result = routerctl(*arguments.split(), cwd=tmp_path, COLUMNS="80")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("command", ["workers", "planes", "keys", "config", "import"])
def test_help_of_a_group_says_what_it_is_for(command: str, tmp_path: Path) -> None:
    said = routerctl(command, "--help", cwd=tmp_path, COLUMNS="200").stdout.split("\n\n")[1].strip()
    listed = routerctl("--help", cwd=tmp_path, COLUMNS="200").stdout.splitlines()
    assert [command, said] in [line.split(maxsplit=1) for line in listed]


def test_version(tmp_path: Path) -> None:
    result = routerctl("--version", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith("routerctl ")


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    result = routerctl("start", "--runtime-dir", str(folder), cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "chmod 700" in line
