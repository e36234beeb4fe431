"""The router's configuration while it runs: what is in use, what stands on disk, and every way to change it.

The file is read each second. What that shows goes into the status; with `watch_config` it is also taken up. A control
plane that takes over from another one tries what it finds there, without applying it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import msgspec

from controlplane.config_history import Cause, Entry, current, find
from controlplane.config_watch import Seen, Standing, is_due, is_put_right, problems, see, standing
from controlplane.events.event import about
from controlplane.reload import Reloader, Target, read_regular
from controlplane.reload_rules import MODE, Mode, Reloaded
from shared.clock import Clock
from shared.config import ConfigError
from shared.config_file import ConfigFile
from shared.config_sources import Sources, gather
from shared.config_values import ShownValue, shown_values
from shared.runtime_dir import RuntimeDir, read_record

LOOK_INTERVAL = 1.0
"""Seconds between looks at the file; reading and comparing a few KB costs next to nothing."""

log = logging.getLogger(__name__)


class ConfigStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is in use, and how the file on disk stands to it.

    `number` counts the configurations, `age` is how long this one is in use, in seconds; both are None without a file.
    `problems` say why what the file holds is not used.
    """

    file: str | None = None
    state: Standing = "in use"
    number: int | None = None
    age: float | None = None
    problems: tuple[str, ...] = ()


class ConfigView(msgspec.Struct, frozen=True, kw_only=True):
    """The values in use, with the places that they came from."""

    status: ConfigStatus
    values: tuple[ShownValue, ...]


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that came into use at `time` (Unix seconds); an `overwritten` one never did."""

    number: int
    time: float
    cause: Cause
    file: str
    detail: str
    keys: tuple[str, ...]
    in_use: bool


class HistoryView(msgspec.Struct, frozen=True, kw_only=True):
    """All that are kept, oldest first."""

    entries: tuple[HistoryEntry, ...]


class Configuration:
    """One router's configuration. Whoever changes it goes through here."""

    def __init__(self, runtime: RuntimeDir, target: Target, clock: Clock, *, begins: bool = False) -> None:
        """With `begins`, what the router was started with just now is in use."""
        self._reloader = Reloader(runtime, target, clock)
        self._sources = read_record(runtime.sources, Sources) or Sources(flags={}, environment={})
        self._target = target
        self._clock = clock
        self._asked = asyncio.Event()
        self._seen: Seen | None = None
        self._is_judged = begins
        if begins:
            self._reloader.begin()

    def ask(self) -> None:
        """Have the file read and used soon (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Take up what is asked for, and with `watch_config` what the file comes to hold, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL):
                    await self._asked.wait()
            if self._asked.is_set():
                self._asked.clear()
                await self.reload("SIGHUP")
            if self._sources.file is not None:
                await self._look(self._sources.file)

    async def reload(self, cause: Cause = "reload", mode: Mode = MODE) -> Reloaded:
        """Go by what the file holds."""
        result = await self._reloader.reload(cause, mode)
        refused = self._reloader.refused
        self._saw(refused.text if refused is not None else self._text_in_use())
        return result

    async def apply(self, text: str, name: str, mode: Mode = MODE) -> Reloaded:
        """Have the file hold another text, and go by it. Problems are told under `name`."""
        return self._changed(await self._reloader.apply(text, name, mode))

    async def rollback(self, number: int | None = None, mode: Mode = MODE) -> Reloaded:
        """Have the file hold what it held in an earlier configuration, and go by it."""
        return self._changed(await self._reloader.rollback(number, mode))

    def status(self) -> ConfigStatus:
        """Return what is in use, and what the last look at the file has shown."""
        entry = current(self._reloader.history)
        if entry is None or self._sources.file is None:
            return ConfigStatus(file=self._sources.file)
        refused = self._reloader.refused
        seen = self._seen or Seen(entry.text, 0.0)
        return ConfigStatus(
            file=self._sources.file,
            state=standing(seen, entry.text, refused),
            number=entry.number,
            age=round(max(0.0, self._clock.wall() - entry.time), 3),
            problems=problems(seen, entry.text, refused),
        )

    async def view(self) -> ConfigView:
        """Return the values in use."""
        return ConfigView(status=self.status(), values=await asyncio.to_thread(self._values))

    def history(self) -> HistoryView:
        """Return the configurations that the router has had."""
        history = self._reloader.history
        in_use = current(history)
        shown = (_shown(entry, is_in_use=entry is in_use) for entry in history.entries)
        return HistoryView(entries=tuple(shown))

    def entry(self, number: int) -> Entry:
        """Return one of them with its text. Raises ConfigError."""
        return find(self._reloader.history, number)

    async def _look(self, path: str) -> None:
        refused = self._reloader.refused
        text, why = await asyncio.to_thread(_text_of, path)
        if refused is not self._reloader.refused:
            # A reload by request has looked at it later.
            return
        is_watched = self._target.current().watch_config
        if not self._is_judged:
            self._is_judged = True
            # The control plane before may have refused it. A watched file is taken up, which judges it as well.
            if text is not None and text != self._text_in_use() and not is_watched:
                await self._reloader.reload(mode=Mode(dry_run=True))
                refused = self._reloader.refused
        self._saw(text, why)
        now = self._clock.monotonic()
        if self._seen is None:
            return
        if is_put_right(self._seen, self._text_in_use(), refused):
            # Without this the log's last word would be the refusal; and the same fault is news when it comes again.
            self._reloader.refused = None
            log.info("%s is in use again", path, extra=about("configuration"))
        elif is_watched and is_due(self._seen, self._text_in_use(), refused, now):
            await self.reload("watch")

    def _saw(self, text: str | None, why: str = "") -> None:
        self._seen = see(self._seen, text, self._clock.monotonic(), why)

    def _changed(self, result: Reloaded) -> Reloaded:
        if result.outcome in ("applied", "unchanged"):
            self._saw(self._text_in_use())
        return result

    def _text_in_use(self) -> str | None:
        entry = current(self._reloader.history)
        return entry.text if entry is not None else None

    def _values(self) -> tuple[ShownValue, ...]:
        path, text = self._sources.file, self._text_in_use()
        file = ConfigFile(path, text) if path is not None and text is not None else None
        gathered = gather(self._sources.flags, self._sources.environment, file)
        return shown_values(gathered._replace(config=self._target.current()))


def _shown(entry: Entry, *, is_in_use: bool) -> HistoryEntry:
    return HistoryEntry(
        number=entry.number,
        time=entry.time,
        cause=entry.cause,
        file=entry.file,
        detail=entry.detail,
        keys=entry.keys,
        in_use=is_in_use,
    )


def _text_of(path: str) -> tuple[str | None, str]:
    """Return what a file holds, or None and why it can not be read."""
    try:
        return read_regular(path).text, ""
    except ConfigError as error:
        return None, str(error)
