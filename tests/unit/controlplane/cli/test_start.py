"""Which file `routerctl start` reads: the one of --config, of ROUTERCTL_CONFIG, or mvllm's of CONFIG_PATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.cli.start import given_config_file
from shared.config import ConfigError


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROUTERCTL_CONFIG", "CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_the_first_of_three_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = (written(tmp_path / name, "port = 31000") for name in ("a.toml", "b.toml"))
    servers = written(tmp_path / "servers.toml", "[servers]\nservers = []")
    assert given_config_file(None) is None
    for name, path in (("CONFIG_PATH", servers), ("ROUTERCTL_CONFIG", other)):
        monkeypatch.setenv(name, path)
        file = given_config_file(None)
        assert file is not None
        assert file.name == path
    file = given_config_file(own)
    assert file is not None
    assert file.name == own


@pytest.mark.parametrize(
    ("name", "text"), [("app.toml", "[app]\ndebug = true"), ("app.yaml", "a: 1"), ("bad.toml", "[")]
)
def test_a_file_of_others_is_none_of_ours(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIG_PATH", written(tmp_path / name, text))
    assert given_config_file(None) is None


def test_a_file_that_is_not_there_is_named_with_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIG_PATH", str(tmp_path / "servers.toml"))
    with pytest.raises(ConfigError, match=r"^CONFIG_PATH=.*servers\.toml: No such file"):
        given_config_file(None)
