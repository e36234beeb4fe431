"""A reload as a transaction: a text is read and built whole, checked, tried on a plane, told to all, then kept.

Until all of that has gone well the old configuration stays, or comes back. The text is what the file holds (reload), or
what the file is to hold (apply, rollback): then the file gets it as the last step but one.
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from controlplane.config_disk import NewText, keep, read_history
from controlplane.config_history import Cause, Entry, added, current, file_of, find, previous
from controlplane.config_watch import Refused
from controlplane.events.event import about
from controlplane.planes import Plane
from controlplane.reload_rules import MODE, Mode, Reloaded, Verdict, judge, overruled, refusal, triers, verdict
from shared.clock import Clock
from shared.config import ConfigError, StartConfig
from shared.config_diff import ConfigChange, change_text, diff
from shared.config_file import ConfigFile, load_config_file
from shared.config_settings import settings_of
from shared.config_sources import Gathered, Sources, gather
from shared.runtime_dir import RuntimeDir, read_record
from shared.table import Settings, Stamp

TRIED_WITHIN = 1.0
"""Seconds for a plane to say whether it could serve: it reads at most a few files for that."""
CONFIRM_WITHIN = 3.0
"""Seconds for the planes to confirm: each does within milliseconds, unless it hangs and must not hold others up."""
_POLL = 0.01
_GIVEN = ("apply", "rollback")
"""Causes whose text is given to the file instead of read from it."""

log = logging.getLogger(__name__)


class Target(Protocol):
    """The control plane as a reload sees it."""

    def current(self) -> StartConfig:
        """Return the configuration in use."""
        ...

    def planes(self) -> Iterable[Plane]:
        """Return the planes that are heard of."""
        ...

    async def trial(self, plane_id: str, settings: Settings, patience: float) -> str | None:
        """Ask a plane whether it could serve: why not, empty when it could, None when it says nothing in time."""
        ...

    def publish(self, config: StartConfig) -> None:
        """Have the planes told of a configuration's settings soon."""
        ...

    def last_published(self) -> tuple[Settings, Stamp]:
        """Return what the planes were told last."""
        ...

    async def adopt(self, config: StartConfig) -> tuple[str, ...]:
        """Go by a configuration that the planes have confirmed; return warnings."""
        ...


class _Proposal(NamedTuple):
    """A configuration to go by. `path` is the user's file and `on_disk` what it holds; without one all are None."""

    gathered: Gathered
    path: str | None = None
    on_disk: str | None = None
    text: str | None = None
    detail: str = ""

    @property
    def written(self) -> str | None:
        """The file that gets another text, if any does."""
        return self.path if self.text != self.on_disk else None


class Reloader:
    """Changes one router's configuration, one change at a time, and knows which ones it has had."""

    def __init__(self, runtime: RuntimeDir, target: Target, clock: Clock) -> None:
        self.history = read_history(runtime)
        self.refused: Refused | None = None
        self._runtime = runtime
        self._target = target
        self._clock = clock
        self._lock = asyncio.Lock()

    def begin(self) -> None:
        """Take what the router was started with for what is in use."""
        sources = read_record(self._runtime.sources, Sources)
        if sources is None or sources.file is None or sources.text is None:
            return
        before, file = current(self.history), sources.file
        if before is not None and (before.file, before.text) == (file, sources.text):
            return
        # By today's flags: those of the start before are not known any more.
        old, new = (
            gather(sources.flags, sources.environment, ConfigFile(file, text) if text is not None else None).config
            for text in (before.text if before is not None else None, sources.text)
        )
        keys = tuple(change.key for change in diff(old, new))
        history = added(self.history, sources.text, "start", time=self._wall(), file=file, keys=keys)
        self.history = history
        try:
            keep(self._runtime, history=history)
        except OSError as error:
            log.error("can not keep the configuration in %s: %s", self._runtime.history, error.strerror)

    async def reload(self, cause: Cause = "reload", mode: Mode = MODE) -> Reloaded:
        """Go by what the file holds now, and log what came of it."""
        return await self._run(cause, self._propose_file, mode)

    async def apply(self, text: str, name: str, mode: Mode = MODE) -> Reloaded:
        """Have the file hold another text, and go by it. Problems are told under `name`."""
        return await self._run("apply", lambda: self._propose_text(ConfigFile(name, text), name), mode)

    async def rollback(self, number: int | None = None, mode: Mode = MODE) -> Reloaded:
        """Have the file hold what it held in the configuration of that number, or else before the last change.

        A file that is not in use is such a change: then it gets back what is in use.
        """

        def propose() -> _Proposal:
            entry = self._before_last_change() if number is None else find(self.history, number)
            name = f"configuration {entry.number}"
            proposal = self._propose_text(ConfigFile(name, entry.text), name)
            if entry.file == proposal.path:
                return proposal
            warning = f"{name} is of {file_of(entry)}; {proposal.path} gets its text"
            gathered = proposal.gathered
            return proposal._replace(gathered=gathered._replace(warnings=(*gathered.warnings, warning)))

        return await self._run("rollback", propose, mode)

    async def _run(self, cause: Cause, propose: Callable[[], _Proposal], mode: Mode) -> Reloaded:
        async with self._lock:
            proposal = None
            try:
                proposal = await asyncio.to_thread(propose)
                result = await self._transaction(cause, proposal, mode)
            except (ConfigError, OSError) as error:
                result = Reloaded(outcome="refused", problems=(str(error),))
            if result.outcome == "refused" and cause not in _GIVEN:
                self.refused = Refused(proposal.text if proposal is not None else None, result.problems)
            elif result.outcome in ("applied", "unchanged") and not mode.dry_run:
                self.refused = None
            in_use = current(self.history)
            result = msgspec.structs.replace(result, number=in_use.number if in_use is not None else None)
        if not mode.dry_run:
            _log(cause if cause in (*_GIVEN, "reload") else f"reload ({cause})", result)
        return result

    async def _transaction(self, cause: Cause, proposal: _Proposal, mode: Mode) -> Reloaded:
        old, new = self._target.current(), proposal.gathered.config.with_absolute_paths()
        plan = judge(old, proposal.gathered, allow_no_workers=mode.allow_no_workers)
        if plan.outcome == "possible":
            plan = await self._tried(plan, settings_of(old), settings_of(new))
        if plan.outcome == "refused" or mode.dry_run:
            return plan
        if plan.outcome == "unchanged":
            await self._keep(cause, proposal, plan.changes, None)
            return msgspec.structs.replace(plan, written=proposal.written)
        try:
            said = await self._tell(new)
            if said.refusal is None:
                await self._keep(cause, proposal, plan.changes, new)
        except BaseException:
            self._target.publish(old)
            raise
        if said.refusal is not None:
            await self._tell(old)
            return Reloaded(outcome="refused", problems=(said.refusal,), warnings=plan.warnings)
        late = tuple(
            f"plane {place} has not confirmed within {CONFIRM_WITHIN:g} s; it follows when it answers again"
            for place in said.silent
        )
        warnings = (*plan.warnings, *late, *await self._target.adopt(new))
        return msgspec.structs.replace(plan, outcome="applied", warnings=warnings, written=proposal.written)

    # --- what is proposed (in a thread) ------------------------------------------------------------------------

    def _propose_file(self) -> _Proposal:
        sources = self._sources()
        if sources.file is None:
            return _Proposal(gather(sources.flags, sources.environment, None))
        file = read_regular(sources.file)
        return _Proposal(_gathered(sources, file), sources.file, file.text, file.text)

    def _propose_text(self, file: ConfigFile, detail: str) -> _Proposal:
        sources = self._sources()
        if sources.file is None:
            raise ConfigError(
                "the router was started without a file that could be changed; start it with --config FILE, "
                "which takes over what runs"
            )
        on_disk = _text_on_disk(sources.file)
        return _Proposal(_gathered(sources, file), sources.file, on_disk, file.text, detail)

    def _before_last_change(self) -> Entry:
        in_use, path = current(self.history), self._sources().file
        if in_use is not None and path is not None and _text_on_disk(path) != in_use.text:
            return in_use
        return previous(self.history)

    def _sources(self) -> Sources:
        sources = read_record(self._runtime.sources, Sources)
        if sources is None:
            raise ConfigError(f"{self._runtime.sources} can not be read: how the router was started is not known")
        return sources

    # --- what planes say ---------------------------------------------------------------------------------------

    async def _tried(self, plan: Reloaded, old: Settings, new: Settings) -> Reloaded:
        """Ask a plane of each version whether it could serve by the settings."""
        if new == old:
            return plan
        asked = triers(self._target.planes())
        trials = (self._target.trial(plane.identity.id, new, TRIED_WITHIN) for plane in asked)
        warnings = list(plan.warnings)
        for plane, reason in zip(asked, await asyncio.gather(*trials), strict=True):
            if reason:
                return Reloaded(outcome="refused", problems=(refusal(plane, reason),), warnings=plan.warnings)
            if reason is None:
                place = plane.identity.label
                warnings.append(f"it could not be tried on plane {place}, which said nothing for {TRIED_WITHIN:g} s")
        return msgspec.structs.replace(plan, warnings=tuple(warnings))

    async def _tell(self, config: StartConfig) -> Verdict:
        """Publish a configuration's settings; return what the planes said in time."""
        wanted = settings_of(config)
        deadline = self._clock.monotonic() + CONFIRM_WITHIN
        self._target.publish(config)
        while True:
            settings, stamp = self._target.last_published()
            said = verdict(self._target.planes(), stamp) if settings == wanted else None
            is_over = self._clock.monotonic() >= deadline
            if said is not None and (said.refusal is not None or not said.silent or is_over):
                return said
            if is_over:
                raise ConfigError(f"the table could not be published within {CONFIRM_WITHIN:g} s")
            await asyncio.sleep(_POLL)

    # --- what is kept ------------------------------------------------------------------------------------------

    async def _keep(
        self, cause: Cause, proposal: _Proposal, changes: tuple[ConfigChange, ...], config: StartConfig | None
    ) -> None:
        history, file = self.history, None
        if proposal.path is not None and proposal.text is not None:
            before = proposal.on_disk
            if before != proposal.text:
                file = NewText(proposal.path, before, proposal.text)
            in_use = current(history)
            if file is not None and before is not None and in_use is not None and before != in_use.text:
                # Somebody has written it and never seen it in use: it must not be lost.
                history = added(history, before, "overwritten", time=self._wall(), file=proposal.path)
            keys = tuple(change.key for change in changes)
            history = added(
                history,
                proposal.text,
                cause,
                time=self._wall(),
                file=proposal.path,
                detail=proposal.detail,
                keys=keys,
            )
        changed = history if history != self.history else None
        try:
            await asyncio.to_thread(keep, self._runtime, file=file, history=changed, config=config)
        except OSError as error:
            raise ConfigError(f"it can not be kept in {self._runtime.path}: {error}") from None
        self.history = history

    def _wall(self) -> float:
        return round(self._clock.wall(), 3)


def read_regular(path: str) -> ConfigFile:
    """Read the user's file. Raises ConfigError, also for a pipe, whose reader would wait for ever."""
    try:
        is_regular = stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        # The reading says what is wrong.
        is_regular = True
    if not is_regular:
        raise ConfigError(f"{path}: it is no regular file that could be read again; start the router with one")
    return load_config_file(path, "")


def _text_on_disk(path: str) -> str | None:
    return read_regular(path).text if Path(path).exists() else None


def _gathered(sources: Sources, file: ConfigFile) -> Gathered:
    gathered = gather(sources.flags, sources.environment, file)
    return gathered._replace(warnings=(*gathered.warnings, *overruled(gathered, gather({}, {}, file))))


def _log(what: str, result: Reloaded) -> None:
    for problem in result.problems:
        log.error("%s refused, nothing has changed: %s", what, problem, extra=about("configuration"))
    for warning in result.warnings:
        log.warning("%s: %s", what, warning, extra=about("configuration"))
    for change in result.changes:
        log.info("%s: %s", what, change_text(change), extra=about("configuration"))
    if result.outcome == "unchanged":
        log.info("%s: no value is different", what, extra=about("configuration"))
    if result.written is not None:
        log.info("%s: %s was written", what, result.written, extra=about("configuration"))
