from pathlib import Path

import pytest

from controlplane.cli import run
from shared.plane_keys import secret_file, write_new_pair


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"control": "10.0.0.1:30100"}, "--control is '10.0.0.1:30100'; write tcp://HOST:PORT"),
        ({"keys": "none"}, "--keys: "),
        ({"server-key": "none"}, "--server-key: "),
        ({"server-key": "far.key_secret"}, "--keys: "),
        ({"server-key": "server.key_secret"}, "server.key_secret holds a secret key, and only the public one may be"),
        ({"keys": "planes/far.key"}, "far.key holds no secret key; give the file that ends with .key_secret"),
        ({"name": "a/b"}, "--name is 'a/b'"),
        ({"name": ""}, "--name is ''"),
        ({"port": "0"}, "--port is 0; write a number from 1 to 65535"),
        ({"data-planes": "many"}, "--data-planes is 'many'; write a whole number"),
        ({"host": "far"}, "--host is 'far'; write an IP address"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], message: str
) -> None:
    write_new_pair(tmp_path, "server")
    write_new_pair(tmp_path, "far")
    if changed == {"server-key": "far.key_secret"}:
        secret_file(tmp_path, "far").chmod(0o644)
    flags = {"control": "tcp://10.0.0.1:30100", "keys": "far.key_secret", "server-key": "server.key", **changed}
    for flag in ("keys", "server-key"):
        flags[flag] = str(tmp_path / flags[flag])
    assert run(["plane", *(f"--{flag}={value}" for flag, value in flags.items())]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_ports_that_only_a_control_plane_has_are_free_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next mistake is named: neither the port nor variables of other commands are one."""
    monkeypatch.setenv("ROUTERCTL_ADMIN_PORT", "none")
    arguments = ["--control=tcp://10.0.0.1:30100", f"--keys={tmp_path}/none", "--server-key=none", "--port=29000"]
    assert run(["plane", *arguments]) == 2
    assert "--keys: " in capsys.readouterr().err


def test_what_it_needs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plane"]) == 2
    assert "--control" in capsys.readouterr().err
