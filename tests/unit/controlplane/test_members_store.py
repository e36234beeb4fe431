import asyncio
from pathlib import Path

import msgspec
import pytest

from controlplane.discovery.runtime import RuntimeMembers, configure, configured
from controlplane.members_store import MembersStore, read_members
from shared.runtime_dir import RuntimeDir
from shared.worker_attributes import ConfiguredWorker, WorkerAttributes

STATE = RuntimeMembers(configured=("http://a:1",), added=("http://b:1",), draining=("http://a:1",))


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeDir:
    return RuntimeDir(tmp_path)


def test_what_was_kept_is_read_by_the_next_life(runtime: RuntimeDir) -> None:
    assert asyncio.run(MembersStore(runtime).keep(STATE))
    assert read_members(runtime, RuntimeMembers(configured=STATE.configured)) == STATE
    assert runtime.members.stat().st_mode & 0o777 == 0o600


def test_another_configuration_counts_as_if_it_had_been_reloaded(runtime: RuntimeDir) -> None:
    asyncio.run(MembersStore(runtime).keep(STATE))
    state = read_members(runtime, configured(["http://c:1"]))
    assert state == configure(STATE, configured(["http://c:1"]))
    assert (state.added, state.leaving) == (("http://b:1",), ("http://a:1",))


def test_what_the_configuration_says_of_workers_is_always_the_present_ones(runtime: RuntimeDir) -> None:
    said = {"http://a:1": WorkerAttributes(weight=3)}
    kept = msgspec.structs.replace(STATE, described={"http://a:1": WorkerAttributes(weight=2)}, said=said)
    asyncio.run(MembersStore(runtime).keep(kept))
    present = configured(["http://a:1"], [ConfiguredWorker(url="http://A:1/", priority=7)])
    read = read_members(runtime, present)
    assert (read.described, read.said) == ({"http://a:1": WorkerAttributes(priority=7)}, said)
    assert read.added == STATE.added


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"configured": 1}'])
def test_what_can_not_be_read_is_as_nothing(runtime: RuntimeDir, data: bytes) -> None:
    runtime.members.write_bytes(data)
    assert read_members(runtime, RuntimeMembers(configured=("http://a:1",))) == RuntimeMembers(
        configured=("http://a:1",)
    )


def test_a_full_disk_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not asyncio.run(MembersStore(RuntimeDir(tmp_path / "missing")).keep(STATE))
    assert "a restart of the control plane forgets the change" in caplog.text


def test_of_changes_at_once_the_last_one_is_kept(runtime: RuntimeDir) -> None:
    async def run() -> None:
        store = MembersStore(runtime)
        states = [RuntimeMembers(configured=(), added=(f"http://w:{n}",)) for n in range(1, 9)]
        await asyncio.gather(*(store.keep(state) for state in states))
        assert read_members(runtime, RuntimeMembers()) == states[-1]

    asyncio.run(run())
