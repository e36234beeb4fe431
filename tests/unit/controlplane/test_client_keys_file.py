"""Changes of the file of clients' keys, as plain values and on disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.client_keys_file import KeysFile, added, removed, rotated
from shared.client_key_list import KeyEntry
from shared.config import ConfigError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOON = NOW + timedelta(hours=24)


def entry(name: str, number: int = 0, expires: datetime | None = None) -> KeyEntry:
    return KeyEntry(
        name=name, sha256=f"{number:064x}", models=("m",), tenant="t", expires=expires, requests_per_minute=7, weight=2
    )


def test_a_name_is_given_once_and_taken_out_whole() -> None:
    entries = added((entry("a", 1),), entry("b", 2))
    with pytest.raises(ConfigError, match="rotate a"):
        added(entries, entry("a", 3))
    assert removed(entries, "a") == (entry("b", 2),)
    with pytest.raises(ConfigError, match="no key called c"):
        removed(entries, "c")


def test_a_new_key_has_the_rights_of_the_old_one_which_ends() -> None:
    now = rotated((entry("a", 1), entry("b", 2)), "a", "f" * 64, created=NOW, until=SOON)
    assert [(one.name, one.sha256[-1], one.expires) for one in now] == [
        ("b", "2", None),
        ("a", "1", SOON),
        ("a", "f", None),
    ]
    assert now[2].models == ("m",)
    assert (now[2].tenant, now[2].requests_per_minute, now[2].weight) == ("t", 7, 2)


def test_an_old_key_never_lives_longer_for_it_and_is_gone_when_there_is_a_newer_one() -> None:
    ends = NOW + timedelta(hours=1)
    once = rotated((entry("a", 1, ends),), "a", "f" * 64, created=NOW, until=SOON)
    assert [one.expires for one in once] == [ends, ends]
    twice = rotated(once, "a", "e" * 64, created=NOW, until=SOON)
    assert [one.sha256[-1] for one in twice] == ["f", "e"]
    assert [one.sha256[-1] for one in rotated(twice, "a", "d" * 64, created=NOW, until=None)] == ["d"]


def test_the_file_is_private_at_first_and_keeps_the_mode_that_it_is_given(tmp_path: Path) -> None:
    file = KeysFile(tmp_path / "keys.toml")
    file.add(entry("a", 1))
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.path.chmod(0o640)
    file.add(entry("b", 2))
    assert file.path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in file.read()] == ["a", "b"]
    assert [path.name for path in tmp_path.iterdir()] == ["keys.toml"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    KeysFile(tmp_path / "real" / "keys.toml").add(entry("a", 1))
    link = tmp_path / "keys.toml"
    link.symlink_to(tmp_path / "real" / "keys.toml")
    KeysFile(link).add(entry("b", 2))
    assert link.is_symlink()
    assert len(KeysFile(link).read()) == 2


def test_what_can_not_be_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    file = KeysFile(tmp_path / "keys.toml")
    with pytest.raises(ConfigError, match="name 'no name'"):
        file.add(entry("no name", 1))
    with pytest.raises(ConfigError, match="No such file"):
        file.remove("a")
    assert not file.path.exists()
    with pytest.raises(ConfigError, match="No such file"):
        KeysFile(tmp_path / "no" / "keys.toml").add(entry("a", 1))


def test_none_of_many_changes_at_once_is_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: KeysFile(tmp_path / "keys").add(entry(f"k{number}", number)), range(24)))
    assert len(KeysFile(tmp_path / "keys").read()) == 24
