"""A router without processes: a `Target` of reloads whose planes say what a test tells them to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from controlplane.config_history import Cause
from controlplane.planes import Plane
from controlplane.reload import Reloader
from controlplane.reload_rules import MODE, Mode, Reloaded
from shared.config import StartConfig
from shared.config_file import ConfigFile
from shared.config_settings import settings_of
from shared.config_sources import Sources, gather
from shared.plane_identity import PlaneIdentity
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


def plane(
    slot: int = 0,
    *,
    acked: int | None = None,
    nacked: int | None = None,
    folded: bool = False,
    version: str = "x",
    heard: float = 0.0,
) -> Plane:
    identity = PlaneIdentity(id=f"{slot:016x}", slot=slot, pid=1, version=version, started=0.0)
    return Plane(
        identity,
        heard,
        acked=None if acked is None else Stamp(1, acked, 0),
        nack=None if nacked is None else "no",
        nacked=None if nacked is None else Stamp(1, nacked, 0),
        is_folded=folded,
    )


class Router:
    """A `Target` whose planes answer each table as `answers` says, and each trial with `said` of their id.

    Its file `name` holds `text` at the start.
    """

    def __init__(
        self,
        folder: Path,
        answers: Callable[[int], list[Plane]],
        *,
        has_file: bool = True,
        name: str = "r.toml",
        text: str = "",
    ) -> None:
        self.runtime = RuntimeDir(folder)
        self.file = folder / name
        self.file.write_text(text)
        file = str(self.file) if has_file else None
        sources = Sources(flags={"data_planes": "1"}, environment={}, file=file, text=text if has_file else None)
        write_record(self.runtime.sources, sources)
        self.config = gather({"data_planes": "1"}, {}, ConfigFile(name, text)).config
        self.adopted = self.config
        self.version = 1
        self.settings = settings_of(self.config)
        self.said: dict[str, str | None] = {}
        self.tried: list[str] = []
        self._answers = answers
        self.reloader = Reloader(self.runtime, self, SkippingClock())
        self.reloader.begin()

    def current(self) -> StartConfig:
        return self.adopted

    def publish(self, config: StartConfig) -> None:
        if settings_of(config) != self.settings:
            self.settings, self.version = settings_of(config), self.version + 1

    def last_published(self) -> tuple[Settings, Stamp]:
        return self.settings, Stamp(1, self.version, 0)

    def planes(self) -> list[Plane]:
        return self._answers(self.version)

    async def trial(self, plane_id: str, settings: Settings, patience: float) -> str | None:
        self.tried.append(plane_id)
        return self.said.get(plane_id, "")

    async def adopt(self, config: StartConfig) -> tuple[str, ...]:
        self.adopted = config
        return ()

    def reload(self, cause: Cause = "reload", mode: Mode = MODE) -> Reloaded:
        return asyncio.run(self.reloader.reload(cause, mode))

    def apply(self, text: str, *, dry_run: bool = False) -> Reloaded:
        return asyncio.run(self.reloader.apply(text, "new.toml", Mode(dry_run)))

    def rollback(self, number: int | None = None, *, dry_run: bool = False) -> Reloaded:
        return asyncio.run(self.reloader.rollback(number, Mode(dry_run)))

    def on_disk(self) -> StartConfig:
        return msgspec.json.decode(self.runtime.config.read_bytes(), type=StartConfig)

    def causes(self) -> list[str]:
        return [entry.cause for entry in self.reloader.history.entries]


def agreeing(version: int) -> list[Plane]:
    """One plane that serves whatever it is told to."""
    return [plane(0, acked=version)]
