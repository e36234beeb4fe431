"""What is said of a router's file that was refused, once it holds again what is in use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from controlplane import configuration
from controlplane.configuration import Configuration
from tests.unit.controlplane.reloads import Router, SkippingClock, agreeing
from tests.unit.controlplane.waiting import until

WATCHED = "watch_config = true\n"


def replace(file: Path, text: str) -> None:
    """Write it in one step: half of it would be another content."""
    other = file.with_name("other")
    other.write_text(text)
    other.replace(file)


def looking(router: Router, act: Callable[[Configuration], Awaitable[None]]) -> None:
    """Do something while the file is looked at."""

    async def main() -> None:
        one = Configuration(router.runtime, router, SkippingClock(), begins=True)
        task = asyncio.create_task(one.run())
        try:
            await act(one)
        finally:
            task.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("bad", ["prot = 1", None])
def test_a_watched_file_that_was_put_right_is_said_to_be_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bad: str | None
) -> None:
    monkeypatch.setattr(configuration, "LOOK_INTERVAL", 0.001)
    caplog.set_level("INFO")
    router = Router(tmp_path, agreeing, text=WATCHED)

    async def act(one: Configuration) -> None:
        for time in (1, 2):
            if bad is None:
                router.file.unlink()
            else:
                replace(router.file, WATCHED + bad)
            await until(lambda: caplog.text.count("reload (watch) refused") == time)  # noqa: B023
            replace(router.file, WATCHED)
            await until(lambda: one.status().state == "in use" and "is in use again" in caplog.messages[-1])

    looking(router, act)
    assert caplog.text.count(f"{router.file} is in use again") == 2


def test_a_file_that_was_refused_by_request_and_put_right_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(configuration, "LOOK_INTERVAL", 0.001)
    caplog.set_level("INFO")
    router = Router(tmp_path, agreeing)

    async def act(one: Configuration) -> None:
        replace(router.file, "prot = 1")
        assert (await one.reload()).outcome == "refused"
        replace(router.file, "")
        await until(lambda: f"{router.file} is in use again" in caplog.text)

    looking(router, act)
