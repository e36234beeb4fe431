from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.config_disk import NewText, keep, read_history, replace_text
from controlplane.config_history import History, added
from shared.config import StartConfig
from shared.runtime_dir import RuntimeDir

HISTORY = added(History(), "a = 1", "start", time=1.0)


def test_a_text_is_replaced_behind_its_link_with_its_mode(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    file, link = tmp_path / "real" / "r.toml", tmp_path / "r.toml"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    replace_text(str(link), "new\r\n")
    assert link.is_symlink()
    assert file.read_bytes() == b"new\r\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["r.toml"]


def test_all_is_written(tmp_path: Path) -> None:
    runtime, file = RuntimeDir(tmp_path), tmp_path / "r.toml"
    keep(runtime, file=NewText(str(file), None, "a"), history=HISTORY, config=StartConfig())
    assert (file.read_text(), read_history(runtime)) == ("a", HISTORY)
    assert runtime.history.stat().st_mode & 0o777 == 0o600
    assert runtime.config.exists()


def test_a_file_that_was_deleted_comes_back_as_a_new_one_would(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    replace_text(str(tmp_path / "r.toml"), "new")
    assert (tmp_path / "r.toml").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("before", [None, "before"])
def test_what_can_not_be_written_to_its_end_is_put_back(tmp_path: Path, before: str | None) -> None:
    runtime, file = RuntimeDir(tmp_path), tmp_path / "r.toml"
    if before is not None:
        file.write_text(before)
        keep(runtime, history=HISTORY)
    runtime.config.mkdir()
    more = added(HISTORY, "b = 2", "apply", time=2.0)
    with pytest.raises(OSError, match="directory"):
        keep(runtime, file=NewText(str(file), before, "after"), history=more, config=StartConfig())
    assert (file.read_text() if file.exists() else None) == before
    assert read_history(runtime) == (History() if before is None else HISTORY)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"entries": 1}', b"\xff"])
def test_a_history_that_can_not_be_read_begins_anew(tmp_path: Path, content: bytes) -> None:
    runtime = RuntimeDir(tmp_path)
    runtime.history.write_bytes(content)
    assert read_history(runtime) == History()


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        replace_text(str(tmp_path / "missing" / "r.toml"), "a")
