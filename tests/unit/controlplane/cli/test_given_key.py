"""The workers' key as a word: where it is found, and that no text repeats it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.cli.argv import UsageProblem
from controlplane.cli.given_key import GivenKey, checked_key, take_key, with_key_file
from shared.config import ConfigError
from shared.config_sources import gather
from shared.config_values import shown_values

KEY = "sk-workers-1234"


@pytest.fixture(autouse=True)
def _no_title(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setproctitle.setproctitle", lambda _: None)


@pytest.mark.parametrize(
    "words", [["--api-key", KEY], [f"--api-key={KEY}"], ["--port=1", "--api-key", KEY, "--host=h"]]
)
def test_it_is_taken_out_of_the_arguments(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rest, given = take_key(words)
    assert given == GivenKey("--api-key", KEY)
    assert not any("api-key" in word or KEY in word for word in rest)
    told = capsys.readouterr().err
    assert "--api-key-file" in told
    assert KEY not in told


def test_it_is_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTERCTL_API_KEY", KEY)
    assert take_key(["--port=1"]) == (["--port=1"], GivenKey("ROUTERCTL_API_KEY", KEY))
    assert "ROUTERCTL_API_KEY" not in os.environ
    assert take_key(["--port=1"]) == (["--port=1"], None)


def test_a_flag_without_a_key_is_told() -> None:
    with pytest.raises(UsageProblem, match="--api-key-file"):
        take_key(["--api-key"])


def test_what_can_be_no_key_is_told_without_it() -> None:
    with pytest.raises(ConfigError, match="printable") as raised:
        checked_key(GivenKey("--api-key", "two words"), gather({}, {}))
    assert "two words" not in str(raised.value)
    assert checked_key(GivenKey("--api-key", KEY), gather({}, {})) == KEY
    assert checked_key(None, gather({}, {})) is None


@pytest.mark.parametrize("where", ["--api-key", "ROUTERCTL_API_KEY"])
def test_a_configuration_is_shown_with_the_keys_file_and_never_the_key(where: str, tmp_path: Path) -> None:
    gathered = gather({"runtime_dir": str(tmp_path / "r")}, {})
    values = shown_values(with_key_file(GivenKey(where, KEY), gathered))
    (shown,) = (one for one in values if one.key == "api_key_file")
    assert (shown.value, shown.name) == (str(tmp_path / "r" / "worker-key"), where)
    assert KEY not in str(values)
    assert not (tmp_path / "r").exists()
    assert with_key_file(None, gathered) is gathered
