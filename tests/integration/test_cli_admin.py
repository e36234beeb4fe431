"""Commands reach the router that is meant, and no other; what they say when it does not answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from controlplane.admin_title import ADMIN_TITLE
from shared.process import start_ticks
from tests.integration.commands import routerctl
from tests.integration.routers import Router, eventually, router_before

WORKER = "http://127.0.0.1:9"


@pytest.fixture
def router(tmp_path: Path, fleet: list[str]) -> Iterator[Router]:
    with router_before(tmp_path, fleet[:2]) as router:
        yield router


def refused(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("routerctl: error: ")
    return line


CHANGES = (
    ("workers", "add", WORKER),
    ("reload",),
    ("config", "history"),
    ("explain", "x"),
    ("planes", "restart"),
)


@pytest.mark.parametrize("command", [*CHANGES, ("workers", "list")], ids=" ".join)
def test_the_folder_of_the_environment_is_meant_as_that_of_the_flag(command: tuple[str, ...], tmp_path: Path) -> None:
    by_flag = refused(routerctl(*command, "--runtime-dir", str(tmp_path)))
    by_environment = refused(routerctl(*command, ROUTERCTL_RUNTIME_DIR=str(tmp_path)))
    assert by_flag == by_environment
    assert f"no router runs on runtime folder {tmp_path}; start one with `routerctl start`" in by_flag


def test_nothing_is_asked_of_what_is_no_admin_api(router: Router) -> None:
    for command in (*CHANGES, ("status",), ("planes", "list")):
        line = refused(routerctl(*command, "--admin", router.url))
        assert f"what answers at {router.url} is no admin API" in line
        assert "--admin-port" in line
    assert WORKER not in routerctl("workers", "list", "--runtime-dir", str(router.runtime.path)).stdout


def test_a_control_plane_that_stands_still_is_asked_for_no_change(router: Router) -> None:
    pid = router.control_plane_pid()
    assert pid is not None
    folder = ("--runtime-dir", str(router.runtime.path))
    os.kill(pid, signal.SIGSTOP)
    try:
        line = refused(routerctl("workers", "add", WORKER, *folder))
        assert "does not answer (not within 3 s)" in line
        assert "nothing was asked of it; see `routerctl status`" in line
        assert "silent" in routerctl("status", *folder).stdout
    finally:
        os.kill(pid, signal.SIGCONT)
    assert WORKER not in routerctl("workers", "list", *folder).stdout


def test_a_change_without_an_answer_is_called_unknown() -> None:
    """An admin API that dies with a change in its hands."""
    document = msgspec.json.encode({"info": {"title": ADMIN_TITLE}})
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(document)}\r\nconnection: close\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in (head + document, b""):
                client, _ = server.accept()
                with client:
                    client.recv(65536)
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        line = refused(routerctl("workers", "drain", WORKER, "--admin", f"http://127.0.0.1:{server.getsockname()[1]}"))
        thread.join()
    assert "it is not known whether the change was made; see `routerctl status`" in line


def test_a_router_whose_control_plane_is_down_is_not_taken_for_none(router: Router) -> None:
    """Another router may have the default address."""
    pid = router.control_plane_pid()
    assert pid is not None
    router.kill_supervisor()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: start_ticks(pid) is None, "the control plane's end")
    default = router.folder / "user" / "routerctl"
    default.mkdir(parents=True)
    (default / "30000").symlink_to(router.runtime.path)
    line = refused(routerctl("workers", "list", XDG_RUNTIME_DIR=str(router.folder / "user")))
    assert f"no control plane runs on runtime folder {default / '30000'}" in line


AS_ANOTHER_USER = """
import contextlib, io, os, sys
from controlplane.cli import run
command, folder = sys.argv[2:], sys.argv[1]
# Once with a folder that is not there: the other user may not read the interpreter's files.
with contextlib.redirect_stderr(io.StringIO()):
    run([*command, "--runtime-dir", folder + "-none"])
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
sys.exit(run([*command, "--runtime-dir", folder]))
"""
COMMANDS = [("status",), ("planes", "list"), ("workers", "list"), ("reload",), ("workers", "add", WORKER)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_folder_of_another_user_is_named_as_such(command: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "planes").mkdir(parents=True)
    # Who is not root can only shut itself out.
    folder.chmod(0o700 if os.geteuid() == 0 else 0)
    try:
        result = subprocess.run(
            (sys.executable, "-c", AS_ANOTHER_USER, str(folder), *command),
            capture_output=True,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("ROUTERCTL_")},
            timeout=60,
        )
    finally:
        folder.chmod(0o700)
    line = refused(result)
    assert "may not look into it" in line
    assert "belongs to user" in line
    assert "sudo" in line
    assert "--admin URL" in line
