"""`routerctl register` refuses what can not work before it does anything, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.cli import run
from shared.plane_keys import secret_file, write_new_pair

ROUTER = "--router=tcp://127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((), "missing option '--router'"),
        (("--router=127.0.0.1:1",), "--router is '127.0.0.1:1'; write tcp://HOST:PORT"),
        (("--router=tcp://h:0",), "--router has port 0"),
        ((ROUTER, ROUTER), "--router names tcp://127.0.0.1:1 twice"),
        (("--router= ",), "--router is empty"),
        ((ROUTER, "--url=127.0.0.1:8000"), "--url has"),
        ((ROUTER, "--advertise-url=http://h/v1"), "--advertise-url has"),
        ((ROUTER, "--role=both"), "--role is 'both'"),
        ((ROUTER, "--mode=READ"), "--mode is 'READ'; write read or write"),
        ((ROUTER, "--connector=a b"), "transfer.connector is 'a b'"),
        ((ROUTER, "--connector=nixle"), "--connector is 'nixle'; did you mean nixl? There are nixl, "),
        ((ROUTER, "--connector=NixlPushConnector"), "did you mean nixl_push?"),
        ((ROUTER, "--bootstrap-port=0"), "transfer.bootstrap_port is 0"),
        ((ROUTER, "--ranks=0"), "ranks is 0"),
        ((ROUTER, "--label=zone"), "label is 'zone'; write NAME=TEXT"),
        ((ROUTER, "--label=-=a"), "labels has '-'"),
        ((ROUTER, "--weight=-1"), "weight is -1"),
        ((ROUTER, "--capacity=nan"), "capacity is nan"),
        ((ROUTER, "--priority=-1"), "priority is -1"),
        ((ROUTER, "--interval=0"), "interval is 0"),
        ((ROUTER, "--model="), "models has an empty name"),
        ((ROUTER, "--startup-timeout-secs=-1"), "--startup-timeout-secs is -1"),
        ((ROUTER, "--log-level=loud"), "--log-level is 'loud'"),
        ((ROUTER, "--keys=a.key_secret"), "--keys has no effect without --server-key"),
        ((ROUTER, "--server-key=a.key"), "--server-key has no effect without --keys"),
        ((ROUTER, "--api-key-file=/nowhere/key"), "--api-key-file /nowhere/key"),
        ((ROUTER, "--worker-ca-file=/nowhere/ca"), "--worker-ca-file"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("register", *arguments)) == 2
    said = capsys.readouterr()
    assert fault in said.err
    assert said.out == ""


def test_key_files_are_read_before_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_new_pair(tmp_path, "engine")
    own = secret_file(tmp_path, "engine")
    assert run(("register", ROUTER, f"--keys={own}", f"--server-key={own}")) == 2
    assert "--server-key: " in capsys.readouterr().err
    own.chmod(0o644)
    assert run(("register", ROUTER, f"--keys={own}", f"--server-key={tmp_path / 'none.key'}")) == 2
    assert "chmod 600" in capsys.readouterr().err
