"""The control plane's look at the file of clients' keys."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.client_keys import ClientKeys, ClientKeysStatus
from controlplane.client_keys_file import KeysFile
from shared.client_key_list import KeyEntry
from shared.table import RoutingTable, Settings, make_table


def file_of(folder: Path, *names: str) -> str:
    file = KeysFile(folder / "keys.toml")
    file.path.unlink(missing_ok=True)
    for number, name in enumerate(names):
        file.add(KeyEntry(name=name, sha256=f"{number:064x}"))
    return str(file.path)


def names(keys: ClientKeys) -> list[str] | None:
    return None if keys.present is None else [key.name for key in keys.present]


def table(keys: ClientKeys) -> RoutingTable:
    return make_table(epoch=1, version=1, settings=Settings(client_keys=keys.present))


def test_without_a_file_nobody_is_asked() -> None:
    assert names(ClientKeys(None)) is None


def test_another_file_counts_at_once(tmp_path: Path) -> None:
    keys = ClientKeys(None)
    keys.use(file_of(tmp_path, "a"))
    assert names(keys) == ["a"]
    keys.use(None)
    assert names(keys) is None


def test_a_file_that_can_not_be_read_locks_nobody_out_and_lets_nobody_in(tmp_path: Path) -> None:
    path = file_of(tmp_path, "a")
    earlier = ClientKeys(path)
    Path(path).write_text("[[keys")
    assert names(ClientKeys(path, table(earlier))) == ["a"]
    assert names(ClientKeys(path)) == []
    keys = ClientKeys(None)
    keys.use(path)
    assert names(keys) == []


def test_changes_are_told_and_broken_ones_pass(tmp_path: Path) -> None:
    file = Path(file_of(tmp_path, "a", "b"))
    whole = file.read_text()
    keys = ClientKeys(str(file))
    assert not keys.look()
    KeysFile(file).remove("a")
    assert keys.look()
    assert names(keys) == ["b"]
    file.write_text("[[keys")
    assert not keys.look()
    file.unlink()
    assert not keys.look()
    assert names(keys) == ["b"]
    file.write_text(whole)
    assert keys.look()
    assert names(keys) == ["a", "b"]
    file.write_text(whole + "# The same keys.\n")
    assert not keys.look()


def test_a_change_is_told_by_names_and_says_what_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    keys = ClientKeys(file_of(tmp_path, "a", "b"))
    file_of(tmp_path, "b", "c")
    assert keys.look()
    assert [record.getMessage() for record in caplog.records] == [
        "clients' keys of these names are new and in use from now on: a, b",
        "clients' keys of these names are new and in use from now on: c",
        "clients' keys of these names have changed: b",
        "clients' keys of these names are refused from now on: a",
    ]


def test_the_status_says_whether_the_file_is_in_use_and_why_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    keys = ClientKeys(None)
    assert keys.status() is None
    path = file_of(tmp_path, "a", "b")
    keys.use(path)
    assert keys.status() == ClientKeysStatus(file=path, state="in use", keys=2)
    Path(path).write_text(Path(path).read_text() + "weight = '3'\n")
    assert not keys.look()
    status = keys.status()
    assert status is not None
    assert (status.state, status.keys) == ("refused", 2)
    assert status.problem.endswith("weight of key 2 (b) is '3'; write a whole number without quotes")
    Path(path).unlink()
    keys.look()
    assert "No such file" in str(keys.status())
    # What is the same as before is in use again, though no key is another one.
    file_of(tmp_path, "a", "b")
    assert not keys.look()
    assert keys.status() == ClientKeysStatus(file=path, state="in use", keys=2)
    assert caplog.messages[-1] == f"--client-keys-file {path} is in use again"


@pytest.mark.parametrize("left", ["", "# Clients' keys of routerctl\n", "[[keys]]\nname = "])
def test_a_file_that_was_cut_short_revokes_nobody(tmp_path: Path, left: str) -> None:
    path = Path(file_of(tmp_path, "a", "b"))
    whole = path.read_text()
    keys = ClientKeys(str(path))
    path.write_text(left)
    assert not keys.look()
    status = keys.status()
    assert status is not None
    assert (names(keys), status.state, status.keys) == (["a", "b"], "refused", 2)
    if "[[keys]]" not in left:
        assert status.problem.endswith("write `keys = []` into it if every client is to be refused")
    assert names(ClientKeys(str(path), table(keys))) == ["a", "b"], "nor by the next control plane"
    path.write_text(whole)
    assert not keys.look()
    assert keys.status() == ClientKeysStatus(file=str(path), state="in use", keys=2)


def test_every_key_can_be_revoked_where_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = Path(file_of(tmp_path, "a", "b"))
    keys = ClientKeys(str(path))
    path.write_text("keys = []\n")
    assert keys.look()
    assert keys.status() == ClientKeysStatus(file=str(path), state="in use", keys=0)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "clients' keys of these names are refused from now on: a, b")
    ]
    keys = ClientKeys(file_of(tmp_path, "last"))
    KeysFile(path).remove("last")
    assert keys.look()
    assert keys.status() == ClientKeysStatus(file=str(path), state="in use", keys=0)
    KeysFile(path).add(KeyEntry(name="next", sha256="a" * 64))
    assert keys.look()
    assert names(keys) == ["next"]


def test_a_router_may_begin_with_a_file_without_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("")
    assert ClientKeys(str(path)).status() == ClientKeysStatus(file=str(path), state="in use", keys=0)


def test_they_are_looked_for_again_and_again(tmp_path: Path) -> None:
    file = file_of(tmp_path, "a")

    async def main() -> None:
        keys, changed = ClientKeys(file), asyncio.Event()
        task = asyncio.create_task(keys.run(changed.set))
        try:
            await asyncio.to_thread(KeysFile(Path(file)).remove, "a")
            await asyncio.wait_for(changed.wait(), 30)
        finally:
            task.cancel()

    asyncio.run(main())
