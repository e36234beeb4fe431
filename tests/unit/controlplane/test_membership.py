import asyncio
import logging

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane import membership
from controlplane.discovery import runtime as verbs
from controlplane.discovery.runtime import RuntimeMembers, members
from controlplane.membership import MembershipError
from controlplane.registry import ProbeResult
from shared.worker_attributes import AttributeChange, ConfiguredWorker, WorkerAttributes
from tests.unit.controlplane.members import A, Setting
from tests.unit.controlplane.waiting import until

B = "http://b:1"
VERBS = {"add": verbs.add, "leave": verbs.leave, "remove": verbs.remove, "drain": verbs.drain, "undrain": verbs.undrain}


@given(st.lists(st.tuples(st.sampled_from(sorted(VERBS)), st.sampled_from((A, B)))))
def test_any_order_of_verbs_leaves_what_the_last_ones_said(history: list[tuple[str, str]]) -> None:
    state = RuntimeMembers(configured=(A,))
    expected = {A: False}
    for verb, key in history:
        if verb != "add" and key not in expected:
            continue
        state = VERBS[verb](state, key)
        if verb == "remove":
            del expected[key]
        else:
            expected[key] = verb in ("leave", "drain")
    assert {worker.id: bool(worker.draining) for worker in members(state)} == expected
    assert len(members(state)) == len(expected)
    assert all(worker.source == ("static" if worker.id == A else "admin") for worker in members(state))


def test_what_operators_say_lies_over_the_configuration_until_they_take_it_back() -> None:
    state = verbs.configured([A], [ConfiguredWorker(url=A, weight=2, labels={"zone": "a", "gpu": "h100"})])
    setting = Setting(A, state=state)

    async def run() -> None:
        change = setting.membership.change
        await change(A, AttributeChange(weight=0.5, labels={"zone": "b", "gpu": None, "none": None}))
        worker = setting.registry.worker(A)
        assert worker is not None
        assert (worker.weight, worker.labels) == (0.5, {"zone": "b"})
        assert setting.kept[-1].said == {A: WorkerAttributes(weight=0.5, labels={"zone": "b", "gpu": None})}
        # The configuration says otherwise by now: a new control plane goes by both.
        again = Setting(A, state=msgspec.structs.replace(
            setting.kept[-1], described={A: WorkerAttributes(weight=3, priority=7)},
        ))  # fmt: skip
        record = again.registry.worker(A)
        assert record is not None
        assert (record.weight, record.priority, record.labels) == (0.5, 7, {"zone": "b"})
        await change(A, AttributeChange(weight=None, labels=None))
        worker = setting.registry.worker(A)
        assert worker is not None
        assert (worker.weight, worker.labels) == (2.0, {"gpu": "h100", "zone": "a"})
        assert setting.kept[-1].said == {}

    asyncio.run(run())


def test_draining_a_worker_and_taking_that_back_leaves_what_was_said_of_it() -> None:
    said = WorkerAttributes(weight=3)
    state = RuntimeMembers(configured=(A,), said={A: said})
    for verb in (verbs.drain, verbs.undrain, verbs.leave, verbs.undrain, verbs.leave, verbs.add):
        state = verb(state, A)
        assert state.said == {A: said}


def test_what_was_said_of_a_worker_ends_with_it() -> None:
    setting = Setting(A)

    async def run() -> None:
        await setting.membership.change(A, AttributeChange(priority=7))
        await setting.membership.remove(A, force=True)
        await setting.membership.add(A)
        worker = setting.registry.worker(A)
        assert worker is not None
        assert worker.priority == 50

    asyncio.run(run())


def test_a_worker_is_removed_once_no_plane_has_a_request_there() -> None:
    async def run() -> None:
        setting = Setting(A, B)
        running = asyncio.create_task(setting.membership.run())
        done = await setting.membership.remove(A)
        assert (done.workers[0].state, done.workers[0].reason) == ("draining", "being removed")
        await until(lambda: (A, setting.order) in setting.asked)
        assert setting.ids() == [A, B]
        setting.idle = True
        await until(lambda: setting.ids() == [B])
        assert setting.changes[-1].after.state == "gone"
        assert setting.kept[-1].removed == (A,)
        running.cancel()

    asyncio.run(run())


def test_who_removes_a_worker_may_wait_until_it_is_gone() -> None:
    async def run() -> None:
        setting = Setting(A)
        running = asyncio.create_task(setting.membership.run())
        waiting = asyncio.create_task(setting.membership.gone(await setting.membership.remove(A)))
        await until(lambda: (A, setting.order) in setting.asked)
        assert not waiting.done()
        setting.idle = True
        await waiting
        assert setting.ids() == []
        running.cancel()

    asyncio.run(run())


def test_nobody_waits_for_a_worker_with_open_requests_nor_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        setting = Setting(A)
        setting.inflight = 1
        monkeypatch.setattr(membership, "GONE_PATIENCE", 3600.0)
        done = await setting.membership.remove(A)
        await asyncio.wait_for(setting.membership.gone(done), 60)
        setting.inflight = 0
        monkeypatch.setattr(membership, "GONE_PATIENCE", 0.05)
        await asyncio.wait_for(setting.membership.gone(done), 60)
        assert setting.ids() == [A]

    asyncio.run(run())


def test_a_removal_ends_when_no_request_can_last_any_longer() -> None:
    async def run() -> None:
        setting = Setting(A, longest_request=0.05)
        running = asyncio.create_task(setting.membership.run())
        await setting.membership.remove(A)
        await until(lambda: setting.ids() == [])
        running.cancel()

    asyncio.run(run())


def test_one_that_is_wanted_again_stays() -> None:
    async def run() -> None:
        setting = Setting(A)
        running = asyncio.create_task(setting.membership.run())
        await setting.membership.remove(A)
        done = await setting.membership.add(A)
        assert (done.is_new, done.workers[0].state) == (False, "starting")
        setting.idle = True
        await setting.membership.drain(A)
        assert setting.membership.drained() == {A}
        await setting.membership.undrain(A)
        assert setting.membership.drained() == frozenset()
        assert setting.ids() == [A]
        running.cancel()

    asyncio.run(run())


def test_that_a_drain_is_over_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def said() -> list[str]:
        return [text for text in caplog.messages if "drained" in text]

    over = f"worker {A} has drained: nothing is open there"

    async def run() -> None:
        setting = Setting(A, B)
        running = asyncio.create_task(setting.membership.run())
        await setting.membership.undrain(A)
        await setting.membership.drain(A)
        await until(lambda: (A, setting.order) in setting.asked)
        assert said() == []
        setting.idle = True
        await until(lambda: said() == [over])
        await setting.membership.drain(A)
        # That other one is told of later, so the first one was looked at again.
        await setting.membership.drain(B)
        await until(lambda: said() == [over, over.replace(A, B)])
        # The control plane after it knows what was told.
        again = Setting(state=setting.kept[-1])
        again.idle = True
        await again.membership.undrain(B)
        await again.membership.drain(B)
        caplog.clear()
        after = asyncio.create_task(again.membership.run())
        await until(lambda: said() == [over.replace(A, B)])
        caplog.clear()
        await setting.membership.undrain(A)
        await setting.membership.drain(A)
        await until(lambda: said() == [f"worker {A} is undrained by an operator", over])
        running.cancel()
        after.cancel()

    asyncio.run(run())


def test_the_silent_planes_that_hold_a_drain_up_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def said() -> list[str]:
        return [text for text in caplog.messages if "open" in text]

    held, over = f"worker {A} may have requests open: plane 1", f"worker {A} has drained: nothing is open there"

    async def run() -> None:
        setting = Setting(A)
        setting.silence = "plane 1"
        running = asyncio.create_task(setting.membership.run())
        await setting.membership.drain(A)
        await until(lambda: said() == [held])
        assert setting.membership.held() == {A: "plane 1"}
        setting.silence, setting.idle = "", True
        await until(lambda: said() == [held, over])
        assert setting.membership.held() == {}
        running.cancel()

    asyncio.run(run())


def test_of_one_that_leaves_is_told_when_it_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> None:
        setting = Setting(A)
        setting.idle = True
        await setting.membership.drain(A)
        await setting.membership.remove(A)
        running = asyncio.create_task(setting.membership.run())
        await until(lambda: setting.ids() == [])
        running.cancel()

    asyncio.run(run())
    assert not any("has drained" in text for text in caplog.messages)


def test_drained_asks_the_planes_about_the_table_that_drained_it() -> None:
    async def run() -> None:
        setting = Setting(A)
        await setting.membership.drain(A)
        order = setting.order
        await setting.membership.add(B)
        setting.asked.clear()
        setting.membership.drained()
        assert setting.asked == {(A, order)}

    asyncio.run(run())


def test_a_draining_workers_health_goes_on_beneath() -> None:
    async def run() -> None:
        setting = Setting(A)
        await setting.membership.drain(A)
        setting.registry.probed(A, ProbeResult("ok", models={"m": b"{}"}), now=1.0, wall=1.0)
        assert setting.state_of(A) == "draining"
        await setting.membership.undrain(A)
        assert setting.state_of(A) == "ready"

    asyncio.run(run())


@pytest.mark.parametrize("same", [A, f"{A}/", "http://A:1"])
def test_a_worker_is_there_once_however_its_url_is_written(same: str) -> None:
    async def run() -> None:
        setting = Setting(A)
        with pytest.raises(MembershipError) as caught:
            await setting.membership.add(same)
        assert caught.value.status == 409
        assert (await setting.membership.remove(same, force=True)).workers[0].state == "gone"
        assert setting.ids() == []
        assert (await setting.membership.add(A)).is_new

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "b:1",
        "ftp://b:1",
        "http://b:1/v1",
        "http://b:1\r\nx: y",
        "http://b c:1",
        "http://u:p@b",
        "http://[b",
        f"http://{'b' * 2000}",
    ],
)
def test_what_is_no_worker_is_refused(url: str) -> None:
    async def run() -> None:
        setting = Setting(A)
        with pytest.raises(MembershipError) as caught:
            await setting.membership.add(url)
        assert (caught.value.status, caught.value.code) == (400, "bad_worker_url")
        with pytest.raises(MembershipError) as caught:
            await setting.membership.remove(url)
        assert caught.value.status == 404
        assert setting.ids() == [A]

    asyncio.run(run())


def test_answers_say_how_far_a_change_has_come() -> None:
    async def run() -> None:
        setting = Setting(A)
        setting.serves = setting.has_room = False
        done = await setting.membership.drain(A)
        assert (done.is_on_every_plane, done.is_kept, done.workers[0].state) == (False, False, "draining")

    asyncio.run(run())


def test_what_was_kept_is_in_force_from_the_first_table_on() -> None:
    state = RuntimeMembers(configured=(A,), added=(B,), draining=(B,), removed=(A,))
    setting = Setting(state=state)
    assert setting.ids() == [B]
    assert setting.state_of(B) == "draining"
    setting.idle = True
    assert setting.membership.drained() == {B}
    assert setting.asked == {(B, (1, 1))}


def test_g_cp_4_workers_that_a_reload_names_no_more_leave_once_they_are_idle() -> None:
    async def run() -> None:
        setting = Setting(A)
        running = asyncio.create_task(setting.membership.run())
        assert await setting.membership.configure(verbs.configured([B]), longest_request=60.0)
        assert setting.ids() == [A, B] or setting.ids() == [B, A]
        assert (setting.state_of(A), setting.state_of(B)) == ("draining", "starting")
        await until(lambda: (A, setting.order) in setting.asked)
        setting.idle = True
        await until(lambda: setting.ids() == [B])
        assert setting.kept[-1] == RuntimeMembers(configured=(B,))
        running.cancel()

    asyncio.run(run())


def test_a_list_that_says_the_same_changes_nothing() -> None:
    async def run() -> None:
        setting = Setting(A)
        order = setting.order
        setting.serves = False
        assert await setting.membership.configure(verbs.configured([f"{A}/"]), longest_request=60.0)
        assert (setting.order, setting.kept) == (order, [])
        assert not await setting.membership.configure(verbs.configured([A, B]), longest_request=60.0)

    asyncio.run(run())


def test_a_reload_changes_how_long_a_removal_waits() -> None:
    async def run() -> None:
        setting = Setting(A)
        running = asyncio.create_task(setting.membership.run())
        await setting.membership.remove(A)
        await setting.membership.configure(verbs.configured([A]), longest_request=0.05)
        await until(lambda: setting.ids() == [])
        running.cancel()

    asyncio.run(run())


def test_verbs_mean_one_rank_or_all_of_a_url() -> None:
    setting = Setting(state=verbs.configured([A], ranks=3))
    one, two, three = (f"{A}@{rank}" for rank in range(3))

    async def run() -> None:
        member = setting.membership
        assert [worker.id for worker in member.find("http://A:1/")] == [one, two, three]
        assert [worker.id for worker in member.find("http://A:1@2")] == [three]
        assert member.find(f"{A}@3") == ()
        assert [worker.id for worker in (await member.drain(two)).workers] == [two]
        assert [setting.state_of(key) for key in (one, two, three)] == ["starting", "draining", "starting"]
        await member.change(A, AttributeChange(weight=2))
        assert {member.worker.weight for member in setting.registry.members()} == {2}
        with pytest.raises(MembershipError, match=f"Worker {A} already exists"):
            await member.add(A)
        assert [worker.state for worker in (await member.remove(three, force=True)).workers] == ["gone"]
        with pytest.raises(MembershipError, match="give the URL"):
            await member.add(three)
        added = await member.add(A)
        assert ([worker.id for worker in added.workers], added.is_new) == ([three], False)
        assert len((await member.undrain(A)).workers) == 3
        assert set(map(setting.state_of, (one, two, three))) == {"starting"}
        done = await member.add(B, WorkerAttributes(priority=7))
        assert ([worker.id for worker in done.workers], done.is_new) == ([f"{B}@{rank}" for rank in range(3)], True)
        assert {worker.priority for worker in done.workers} == {7}
        await member.remove(A, force=True)
        assert setting.ids() == [f"{B}@{rank}" for rank in range(3)]

    asyncio.run(run())


def test_what_can_not_serve_by_the_configuration_is_refused() -> None:
    async def run() -> None:
        setting = Setting(A)
        setting.refusal = "It has no address."
        with pytest.raises(MembershipError, match="It has no address") as caught:
            await setting.membership.add("http://b:1")
        assert (caught.value.status, setting.ids()) == (400, [A])

    asyncio.run(run())
