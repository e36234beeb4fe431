"""What a control plane that begins finds in the configuration file, and says of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane import configuration
from controlplane.config_watch import Standing
from controlplane.configuration import ConfigStatus, Configuration
from tests.unit.controlplane.reloads import Router, SkippingClock, agreeing


def first_word(router: Router) -> ConfigStatus:
    """What a control plane that is started now says once it has seen that the file is another one."""

    async def run() -> ConfigStatus:
        begun = Configuration(router.runtime, router, SkippingClock())
        looking = asyncio.ensure_future(begun.run())
        async with asyncio.timeout(30):
            while (status := begun.status()).state == "in use":  # noqa: ASYNC110 - a status tells nobody
                await asyncio.sleep(0.001)
        looking.cancel()
        await asyncio.wait([looking])
        return status

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "state", "problem"),
    [
        ("expose_worker = 1", "refused", "r.toml:1: expose_worker is 1"),
        ("expose_worker = true\nport = 3", "refused", "r.toml:2: port can not change"),
        ("expose_worker = true", "changed", ""),
        ("expose_worker = ", "refused", "r.toml: this is no TOML"),
    ],
)
def test_a_changed_file_is_judged_and_not_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, state: Standing, problem: str
) -> None:
    """The control plane before, which may have refused it, has told nobody."""
    monkeypatch.setattr(configuration, "LOOK_INTERVAL", 0.01)
    router = Router(tmp_path, agreeing)
    router.file.write_text(text)
    status = first_word(router)
    assert (status.state, len(status.problems)) == (state, 1 if problem else 0)
    assert problem in "".join(status.problems)
    assert router.adopted == router.config
    assert router.causes() == ["start"]


def test_what_planes_would_refuse_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "LOOK_INTERVAL", 0.01)
    router = Router(tmp_path, agreeing)
    router.said["0" * 16] = "no such policy here"
    router.file.write_text("expose_worker = true")
    status = first_word(router)
    assert (status.state, status.problems) == ("refused", ("plane 0 refuses it: no such policy here",))
