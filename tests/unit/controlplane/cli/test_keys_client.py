"""`routerctl keys client`: a key is shown once, and what it may do is kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.cli import run
from controlplane.cli.keys_client import moment
from shared.client_key_list import read_client_keys
from shared.client_keys import digest_of
from shared.config import ConfigError

Capture = pytest.CaptureFixture[str]


def out(capsys: Capture, *arguments: str) -> str:
    assert run(["keys", "client", *arguments]) == 0
    return capsys.readouterr().out


def test_alone_it_shows_its_commands(capsys: Capture) -> None:
    alone = out(capsys)
    assert alone == out(capsys, "--help")
    assert "rotate" in alone


def test_a_keys_life(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.toml"
    monkeypatch.setenv("ROUTERCTL_CLIENT_KEYS_FILE", str(file))
    key = out(capsys, "create", "alice", "--model", "m", "--model", "q-*", "--expires=30d", "--tenant=t").strip()
    (kept,) = read_client_keys("", file)
    assert kept.digest == digest_of(key.encode())
    assert (kept.name, kept.models, kept.tenant) == ("alice", ("m", "q-*"), "t")
    assert key not in file.read_text()
    (listed,) = json.loads(out(capsys, "list", "--json"))
    assert (listed["name"], listed["state"], listed["models"]) == ("alice", "valid", ["m", "q-*"])
    assert listed["digest"] == kept.digest.hex()[:8]
    assert run(["keys", "client", "create", "alice"]) == 2
    assert "rotate alice" in capsys.readouterr().err
    new = json.loads(out(capsys, "rotate", "alice", "--overlap=1h", "--json"))
    old, now = read_client_keys("", file)
    assert now.digest == digest_of(new["key"].encode())
    assert old.digest == kept.digest
    assert old.expires is not None
    assert now.expires is not None
    assert old.expires < now.expires == kept.expires
    shown = out(capsys, "list")
    assert shown.count("alice") == 2
    assert key not in shown
    assert "2 keys" in out(capsys, "revoke", "alice")
    assert read_client_keys("", file) == ()
    assert "nobody" in out(capsys, "list")


def test_no_file_is_guessed(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTERCTL_CLIENT_KEYS_FILE", raising=False)
    assert run(["keys", "client", "list", f"--runtime-dir={tmp_path}"]) == 2
    assert "--file" in capsys.readouterr().err


def test_times() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    assert moment("--expires", "90m", now).timestamp() == now + 5400
    assert moment("--expires", "2w", now).timestamp() == now + 14 * 86400
    assert moment("--expires", "2027-01-31", now) == datetime(2027, 1, 31, tzinfo=UTC)
    for wrong in ("2026-01-01", "soon", "", "-1d", "30"):
        with pytest.raises(ConfigError, match="--expires"):
            moment("--expires", wrong, now)
