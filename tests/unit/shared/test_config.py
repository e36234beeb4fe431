from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shared.config import StartConfig, join_address
from shared.config_settings import settings_of


def changed(**values: object) -> StartConfig:
    return msgspec.structs.replace(StartConfig(), **values)


def test_join_address() -> None:
    assert join_address("127.0.0.1", 80) == "127.0.0.1:80"
    assert join_address("::1", 80) == "[::1]:80"


def test_paths_mean_the_same_for_a_process_that_was_started_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = StartConfig(
        worker_ca_file="ca.pem", worker_client_cert="/own.pem", runtime_dir="run"
    ).with_absolute_paths()
    assert settings_of(config).worker_ca_file == f"{tmp_path}/ca.pem"
    assert settings_of(config).worker_client_cert == "/own.pem"
    assert settings_of(config).worker_client_key is None
    assert config.runtime_dir == f"{tmp_path}/run"
    assert config.with_absolute_paths() == config
