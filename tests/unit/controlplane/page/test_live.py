"""What listeners are sent, and that one who takes nothing holds up nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from controlplane.figures.traffic import Figures
from controlplane.page import live as module
from controlplane.page.live import MAX_LISTENERS, Live
from controlplane.planes import Planes
from controlplane.status_builder import build_report
from controlplane.status_report import StatusReport
from shared.runtime_dir import ProcessRecord, RuntimeDir
from shared.table import make_table
from tests.unit.controlplane.members import A, Setting

OWN = ProcessRecord(pid=1, start_ticks=1, version="x", started=0.0)
EVENT = '{"time":5.0,"level":"info","kind":"worker","subject":"w","text":"came","told_by":"control plane"}\n'


class Listener:
    """One that takes what it is sent, as long as it `takes`."""

    def __init__(self, live: Live) -> None:
        self.got: list[tuple[str, Any]] = []
        self.status = 0
        self.heard = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self._leaves = asyncio.Event()
        self.task = asyncio.create_task(live.answer()({"type": "http"}, self._receive, self._send))

    async def _receive(self) -> Message:
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.takes.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        kind, data = message["body"].decode().rstrip("\n").split("\n", 1)
        self.got.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        self.heard.set()

    async def leave(self) -> None:
        self._leaves.set()
        await self.task


class StoppedClock:
    """Time stands still, so that nothing changes by itself."""

    def monotonic(self) -> float:
        return 1.0

    def wall(self) -> float:
        return 1.0


class Scene:
    def __init__(self, folder: Path) -> None:
        self.setting = Setting(A)
        self.runtime = RuntimeDir(folder)
        self.planes = Planes()
        self.live = Live(self.status, Figures, self.runtime, StoppedClock())

    def status(self) -> StatusReport:
        return build_report(
            supervisor=None,
            supervisor_runs=False,
            own=OWN,
            table=make_table(epoch=1, version=2),
            members=self.setting.registry.members(),
            planes=self.planes,
            loads={},
            data_planes=1,
            malformed=0,
            now=1.0,
            wall=1.0,
        )


def play(folder: Path, act: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        scene = Scene(folder)
        await act(scene)

    asyncio.run(run())


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_listener_gets_everything_then_what_changes(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        one = Listener(scene.live)
        await turns()
        await scene.live.look()
        await turns()
        ((kind, first),) = one.got
        assert (kind, first["full"], first["gone"]) == ("change", True, [])
        assert set(first["records"]) == {"router", f"worker:{A}"}
        assert first["records"][f"worker:{A}"]["worker"]["state"] == "starting"
        await scene.live.look()
        await turns()
        assert len(one.got) == 1

        other = Listener(scene.live)
        await turns()
        assert other.got[0][1]["records"] == first["records"]
        await scene.setting.membership.add("http://b:1")
        await scene.live.look()
        await turns()
        assert set(one.got[1][1]["records"]) == {"worker:http://b:1"}
        assert not one.got[1][1]["full"]
        await scene.setting.membership.remove("http://b:1", force=True)
        await scene.live.look()
        await turns()
        assert one.got[2][1]["gone"] == ["worker:http://b:1"]
        assert one.got[1:] == other.got[1:]
        await one.leave()
        await other.leave()

    play(tmp_path, act)


def test_what_happens_is_told_once(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        file = scene.runtime.events("control plane")
        file.write_text(EVENT)
        one = Listener(scene.live)
        await turns()
        await scene.live.look()
        await turns()
        file.write_text(EVENT + EVENT.replace("came", "went"))
        await scene.live.look()
        await scene.live.look()
        await turns()
        assert [event["text"] for kind, told in one.got if kind == "events" for event in told] == ["came", "went"]
        await one.leave()

    play(tmp_path, act)


def test_one_that_takes_nothing_is_passed_over_then_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(scene: Scene) -> None:
        slow, quick = Listener(scene.live), Listener(scene.live)
        await turns()
        await scene.live.look()
        await turns()
        slow.takes.clear()
        for number in range(20):
            await scene.setting.membership.add(f"http://c:{number + 1}")
            await scene.live.look()
            await turns()
        assert len(quick.got) == 21
        slow.takes.set()
        await turns()
        # One step, begun before, then all others in one.
        assert [len(told["records"]) for _, told in slow.got] == [2, 1, 19]

        monkeypatch.setattr(module, "PATIENCE", 0.01)
        slow.takes.clear()
        await scene.setting.membership.add("http://d:1")
        await scene.live.look()
        await slow.task
        assert len(slow.got) == 3
        assert scene.live._listeners == 1
        await quick.leave()
        assert scene.live._listeners == 0

    play(tmp_path, act)


def test_only_so_many_listen_at_once(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        listeners = [Listener(scene.live) for _ in range(MAX_LISTENERS)]
        await turns()
        refused = scene.live.answer()
        assert refused.status_code == 503
        assert b"too_many_listeners" in bytes(refused.body)
        await listeners[0].leave()
        assert scene.live.answer().status_code == 200
        for one in listeners[1:]:
            await one.leave()

    play(tmp_path, act)


def test_a_quiet_line_is_told_from_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(scene: Scene) -> None:
        one = Listener(scene.live)
        await turns()
        await scene.live.look()
        await turns()
        monkeypatch.setattr(module, "BEAT", 0.0)
        await scene.live.look()
        await turns()
        assert one.got[1][1]["records"] == {}
        await one.leave()

    play(tmp_path, act)


def test_histories_are_kept_while_nobody_listens(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.live.look()
        await scene.live.look()
        told = scene.live.history(A)
        assert len(told.times) == 1
        assert told.figures["inflight"] == (0.0,)
        assert told.figures["running"] == (None,)

    play(tmp_path, act)


def test_the_loop_looks_for_a_first_listener_at_once(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        loop = asyncio.create_task(scene.live.run())
        await turns()
        one = Listener(scene.live)
        await one.heard.wait()
        await one.leave()
        loop.cancel()

    play(tmp_path, act)


def test_it_is_never_kept_by_a_browser(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        answer = scene.live.answer()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert "content-length" not in answer.headers

    play(tmp_path, act)
