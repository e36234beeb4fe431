from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.cli.admin_client import DEFAULT_ADMIN, find
from shared.config import ConfigError, StartConfig
from shared.process import own_record
from shared.runtime_dir import RuntimeDir, write_record

ELSEWHERE = "http://10.0.0.1:30080"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, short_path: Path) -> None:
    for name in ("ROUTERCTL_ADMIN", "ROUTERCTL_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))


def folder_of(path: Path, *, with_control_plane: bool) -> RuntimeDir:
    """A folder on which this very process is the supervisor, and the control plane."""
    runtime = RuntimeDir(path)
    runtime.prepare()
    write_record(runtime.config, StartConfig(admin_port=31080))
    write_record(runtime.supervisor, own_record())
    if with_control_plane:
        write_record(runtime.control_plane, own_record())
    return runtime


def test_the_default_address_is_for_a_default_folder_without_a_router(short_path: Path) -> None:
    assert find(None, None).url == DEFAULT_ADMIN
    runtime = folder_of(short_path / "routerctl" / "30000", with_control_plane=False)
    assert find(None, None) == (runtime, None, True)
    folder_of(runtime.path, with_control_plane=True)
    assert find(None, None).url == "http://127.0.0.1:31080"


def test_a_folder_that_is_named_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = RuntimeDir(tmp_path / "empty")
    assert find(None, str(empty.path)) == (empty, None, True)
    monkeypatch.setenv("ROUTERCTL_RUNTIME_DIR", str(empty.path))
    assert find(None, None) == (empty, None, True)
    monkeypatch.setenv("ROUTERCTL_ADMIN", ELSEWHERE)
    assert find(None, None) == (empty, ELSEWHERE, True)
    runtime = folder_of(tmp_path / "run", with_control_plane=True)
    assert find(None, str(runtime.path)).url == "http://127.0.0.1:31080"


def test_an_address_on_the_command_line_means_no_folder(tmp_path: Path) -> None:
    assert find(f"{ELSEWHERE}/", None)[1:] == (ELSEWHERE, False)
    assert find(ELSEWHERE, str(tmp_path))[1:] == (ELSEWHERE, True)
    with pytest.raises(ConfigError, match="http://host:port"):
        find("localhost", None)
