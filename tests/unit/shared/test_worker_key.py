"""The workers' key: what is one, and what happens when its file changes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shared.config import ConfigError
from shared.worker_key import MAX_KEY, WorkerKey, read_worker_key


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_line_is_the_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-1234\n")
    assert read_worker_key("--api-key-file", file) == "sk-1234"


@pytest.mark.parametrize("content", ["", "\n", "two words", "a\nb", "\xe4", "x" * (MAX_KEY + 1)])
def test_what_is_no_key_is_not_repeated(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(ConfigError) as raised:
        read_worker_key("--api-key-file", file)
    assert str(raised.value).startswith(f"--api-key-file {file} must hold one line")
    assert not content.strip() or content.strip() not in str(raised.value).replace(str(file), "")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_worker_key("--api-key-file", Path("/nowhere/key"))


def test_without_a_file_there_is_none() -> None:
    assert WorkerKey().authorization is None


def test_a_replaced_file_counts_within_a_second_and_a_bad_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "key", Clock()
    file.write_text("one")
    key = WorkerKey(str(file), clock)
    assert key.authorization == "Bearer one"
    (tmp_path / "next").write_text("two!")
    (tmp_path / "next").rename(file)
    assert key.authorization == "Bearer one"
    clock.now += 1.0
    assert key.authorization == "Bearer two!"
    with caplog.at_level(logging.ERROR):
        file.unlink()
        for _ in range(3):
            clock.now += 1.0
            assert key.authorization == "Bearer two!"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the key before stays in use" in caplog.text
    assert "two!" not in caplog.text


def test_a_key_that_could_never_be_read_is_empty_and_not_missing(tmp_path: Path) -> None:
    clock = Clock()
    key = WorkerKey(str(tmp_path / "key"), clock)
    assert key.authorization == ""
    assert "No such file" in key.missing()
    (tmp_path / "key").write_text("late")
    clock.now += 1.0
    assert key.missing() == ""
    assert key.authorization == "Bearer late"
    key.use(None)
    assert key.missing() == ""
    assert key.authorization is None


def test_a_file_that_is_back_is_told_with_what_makes_it_an_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file, clock = tmp_path / "key", Clock()
    file.write_text("one")
    key = WorkerKey(str(file), clock, told={"about": "it"})
    for change in (file.unlink, lambda: file.write_text("one")):
        change()
        clock.now += 1.0
        assert key.authorization == "Bearer one"
    assert [(record.levelname, vars(record)["about"]) for record in caplog.records] == [("ERROR", "it"), ("INFO", "it")]
    assert caplog.messages[-1] == f"--api-key-file {file} can be read again"
