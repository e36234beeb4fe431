"""A reload against planes that agree, refuse or say nothing, without any process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from controlplane.planes import Plane
from controlplane.reload import CONFIRM_WITHIN, Reloaded, Reloader, judge, verdict
from shared.config import StartConfig
from shared.config_file import ConfigFile
from shared.config_sources import Gathered, Sources, gather
from shared.messages import PlaneIdentity
from shared.runtime_dir import RuntimeDir, write_record
from shared.table import Settings, Stamp


class SkippingClock:
    """Each look at it is half a second later."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 0.5
        return self.now

    def wall(self) -> float:
        return self.now


def plane(slot: int = 0, *, acked: int | None = None, nacked: int | None = None, folded: bool = False) -> Plane:
    identity = PlaneIdentity(id=f"{slot:016x}", slot=slot, pid=1, version="x", started=0.0)
    return Plane(
        identity,
        0.0,
        acked=None if acked is None else Stamp(1, acked, 0),
        nack=None if nacked is None else "no",
        nacked=None if nacked is None else Stamp(1, nacked, 0),
        is_folded=folded,
    )


@pytest.mark.parametrize(
    ("planes", "refusal", "silent"),
    [
        ([], None, ()),
        ([plane(0, acked=5), plane(1, acked=6)], None, ()),
        ([plane(0, acked=5), plane(1, acked=4), plane(2)], None, (1, 2)),
        ([plane(0), plane(1, nacked=5)], "plane 1 refuses it: no", ()),
        ([plane(0, acked=5), plane(1, acked=4, nacked=4)], None, (1,)),
        ([plane(0, acked=5), plane(1, folded=True)], None, ()),
    ],
)
def test_what_the_planes_say(planes: list[Plane], refusal: str | None, silent: tuple[int, ...]) -> None:
    assert verdict(planes, Stamp(1, 5, 0)) == (refusal, silent)


def file(text: str) -> Gathered:
    return gather({}, {}, ConfigFile("r.toml", text))


def test_values_that_planes_can_take_while_they_run() -> None:
    plan = judge(StartConfig(), file('policy = "random"\nhealth_check_interval_secs = 5\nlog_level = "debug"'))
    assert plan.outcome == "applied"
    assert {change.key for change in plan.changes} == {"policy", "health_check_interval_secs", "log_level"}
    assert judge(StartConfig(), file("")).outcome == "unchanged"


@pytest.mark.parametrize(
    "line",
    [
        'host = "127.0.0.2"',
        "port = 3",
        'admin_host = "127.0.0.2"',
        "admin_port = 3",
        'prometheus_host = "127.0.0.2"',
        "prometheus_port = 3",
        "data_planes = 200",
        'runtime_dir = "/x"',
        'plane_affinity = "none"',
        "shutdown_grace_secs = 3",
        'worker_urls = ["http://a"]',
    ],
)
def test_what_needs_a_restart_is_refused_by_name_and_takes_everything_with_it(line: str) -> None:
    plan = judge(StartConfig(), file(f'policy = "random"\n{line}'))
    assert (plan.outcome, plan.changes) == ("refused", ())
    (problem,) = plan.problems
    assert problem.startswith(f"r.toml:2: {line.split(' ')[0]} can not change without a restart (")


def test_every_problem_is_told() -> None:
    plan = judge(StartConfig(), file("port = 0\nprot = 1\npolicy = 'x'"))
    assert plan.outcome == "refused"
    assert len(plan.problems) == 3


class Router:
    """A `Target` whose planes answer each table as `answers` says."""

    def __init__(self, folder: Path, answers: Callable[[int], list[Plane]]) -> None:
        self.runtime = RuntimeDir(folder)
        self.file = folder / "r.toml"
        self.file.write_text("")
        write_record(self.runtime.sources, Sources(flags={"data_planes": "1"}, environment={}, file=str(self.file)))
        self.config = gather({"data_planes": "1"}, {}).config
        self.adopted = self.config
        self.version = 1
        self.settings = self.config.settings()
        self._answers = answers

    def current(self) -> StartConfig:
        return self.adopted

    def publish(self, config: StartConfig) -> None:
        if config.settings() != self.settings:
            self.settings, self.version = config.settings(), self.version + 1

    def last_published(self) -> tuple[Settings, Stamp]:
        return self.settings, Stamp(1, self.version, 0)

    def planes(self) -> list[Plane]:
        return self._answers(self.version)

    def adopt(self, config: StartConfig) -> None:
        self.adopted = config

    def reload(self) -> Reloaded:
        return asyncio.run(Reloader(self.runtime, self, SkippingClock()).reload())

    def on_disk(self) -> StartConfig:
        return msgspec.json.decode(self.runtime.config.read_bytes(), type=StartConfig)


def test_what_all_planes_confirm_counts_and_is_kept(tmp_path: Path) -> None:
    router = Router(tmp_path, lambda version: [plane(0, acked=version)])
    router.file.write_text("request_timeout_secs = 5")
    assert router.reload().outcome == "applied"
    assert router.adopted.request_timeout_secs == router.settings.request_timeout == 5.0
    assert router.on_disk() == router.adopted
    assert router.reload().outcome == "unchanged"


def test_what_one_plane_refuses_is_taken_back(tmp_path: Path) -> None:
    def answers(version: int) -> list[Plane]:
        return [plane(0, acked=version), plane(1, acked=1, nacked=2) if version == 2 else plane(1, acked=version)]

    router = Router(tmp_path, answers)
    router.file.write_text("request_timeout_secs = 5")
    result = router.reload()
    assert (result.outcome, result.problems) == ("refused", ("plane 1 refuses it: no",))
    assert router.adopted == router.config
    assert router.settings == router.config.settings()
    assert not router.runtime.config.exists()


def test_a_plane_that_hangs_holds_nobody_up_and_is_named(tmp_path: Path) -> None:
    router = Router(tmp_path, lambda version: [plane(0, acked=version), plane(1, acked=1)])
    router.file.write_text("request_timeout_secs = 5")
    result = router.reload()
    assert result.outcome == "applied"
    (warning,) = result.warnings
    assert warning.startswith(f"plane 1 has not confirmed within {CONFIRM_WITHIN:g} s")


def test_what_can_not_be_kept_is_taken_back(tmp_path: Path) -> None:
    router = Router(tmp_path, lambda version: [plane(0, acked=version)])
    router.file.write_text("request_timeout_secs = 5")
    router.runtime.config.mkdir()
    result = router.reload()
    assert result.outcome == "refused"
    assert "config.json" in result.problems[0]
    assert router.adopted == router.config
    assert router.settings == router.config.settings()


@pytest.mark.parametrize("content", [b"port = ", b"policy = 1", b"\xff", b"data_planes = 5\nprot = 1"])
def test_a_bad_file_changes_nothing(tmp_path: Path, content: bytes) -> None:
    router = Router(tmp_path, lambda version: [plane(0, acked=version)])
    router.file.write_bytes(content)
    result = router.reload()
    assert result.outcome == "refused"
    assert "r.toml" in result.problems[0]
    assert (router.version, router.adopted) == (1, router.config)


def test_a_file_that_is_gone_and_a_start_that_is_not_known(tmp_path: Path) -> None:
    router = Router(tmp_path, lambda version: [])
    router.file.unlink()
    assert "No such file" in router.reload().problems[0]
    router.runtime.sources.unlink()
    assert "how the router was started is not known" in router.reload().problems[0]


def test_flags_go_on_to_win(tmp_path: Path) -> None:
    router = Router(tmp_path, lambda version: [])
    router.file.write_text("data_planes = 7")
    assert router.reload().outcome == "unchanged"
