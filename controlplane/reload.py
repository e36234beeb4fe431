"""A reload as a transaction: the configuration is read anew and built whole, checked, tried on the planes, then kept.

Until all of that has gone well the old one stays, or comes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

import msgspec

from controlplane.planes import Plane
from shared.clock import Clock
from shared.config import ConfigError, StartConfig
from shared.config_diff import ConfigChange, diff
from shared.config_file import load_config_file
from shared.config_sources import Gathered, Sources, gather
from shared.runtime_dir import RuntimeDir, read_record, write_atomically
from shared.table import Settings, Stamp

CONFIRM_WITHIN = 3.0
"""Seconds for the planes to confirm: each does within milliseconds, unless it hangs and must not hold others up."""
_POLL = 0.01

log = logging.getLogger(__name__)


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload did. After `refused` everything is as before, and `problems` say why; both are lines for people."""

    outcome: Literal["applied", "unchanged", "refused"]
    changes: tuple[ConfigChange, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """What the planes say of a table: why one refuses it, and the slots of those that have not said anything."""

    refusal: str | None
    silent: tuple[int, ...]


class Target(Protocol):
    """The control plane as a reload sees it."""

    def current(self) -> StartConfig:
        """Return the configuration in use."""
        ...

    def publish(self, config: StartConfig) -> None:
        """Have the planes told of a configuration's settings soon."""
        ...

    def last_published(self) -> tuple[Settings, Stamp]:
        """Return what the planes were told last."""
        ...

    def planes(self) -> Iterable[Plane]:
        """Return the planes that are heard of."""
        ...

    def adopt(self, config: StartConfig) -> None:
        """Go by a configuration that the planes have confirmed."""
        ...


def judge(current: StartConfig, gathered: Gathered) -> Reloaded:
    """Return what is to become of a configuration: `applied` means that it may be tried."""
    problems = [problem.text for problem in gathered.problems]
    changes = diff(current, gathered.config.with_absolute_paths())
    if not problems:
        problems = [_needs_restart(change, gathered) for change in changes if change.needs != "reload"]
    outcome: Literal["applied", "unchanged", "refused"] = "unchanged"
    if problems:
        outcome, changes = "refused", ()
    elif changes:
        outcome = "applied"
    return Reloaded(outcome=outcome, changes=changes, problems=tuple(problems), warnings=gathered.warnings)


def verdict(planes: Iterable[Plane], stamp: Stamp) -> Verdict:
    """Return what the planes say of the table of that stamp, or of a later one."""
    silent = []
    for plane in planes:
        if plane.is_folded:
            continue
        if plane.nack is not None and plane.nacked is not None and plane.nacked.order >= stamp.order:
            return Verdict(f"plane {plane.identity.slot} refuses it: {plane.nack}", ())
        if plane.acked is None or plane.acked.order < stamp.order:
            silent.append(plane.identity.slot)
    return Verdict(None, tuple(silent))


def _needs_restart(change: ConfigChange, gathered: Gathered) -> str:
    place = gathered.places[change.key]
    where = str(place) if place.source != "default" else change.key
    return (
        f"{where} can not change without a restart ({change.old!r} -> {change.new!r}); "
        "set it back, or start the router anew with it"
    )


class Reloader:
    """Reloads one router's configuration, one reload at a time."""

    def __init__(self, runtime: RuntimeDir, target: Target, clock: Clock) -> None:
        self._runtime = runtime
        self._target = target
        self._clock = clock
        self._lock = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Reload and log what came of it."""
        async with self._lock:
            try:
                result = await self._transaction()
            except (ConfigError, OSError) as error:
                result = Reloaded(outcome="refused", problems=(str(error),))
        for problem in result.problems:
            log.error("reload refused, nothing has changed: %s", problem)
        for warning in result.warnings:
            log.warning("reload: %s", warning)
        for change in result.changes:
            log.info("reload: %s is %r now (was %r)", change.key, change.new, change.old)
        if result.outcome == "unchanged":
            log.info("reload: no value is different")
        return result

    async def _transaction(self) -> Reloaded:
        gathered = await asyncio.to_thread(self._gather)
        old, new = self._target.current(), gathered.config.with_absolute_paths()
        plan = judge(old, gathered)
        if plan.outcome != "applied":
            return plan
        try:
            said = await self._try(new)
            if said.refusal is None:
                await asyncio.to_thread(write_atomically, self._runtime.config, msgspec.json.encode(new))
        except BaseException:
            self._target.publish(old)
            raise
        if said.refusal is not None:
            await self._try(old)
            return Reloaded(outcome="refused", problems=(said.refusal,), warnings=plan.warnings)
        self._target.adopt(new)
        late = tuple(
            f"plane {slot} has not confirmed within {CONFIRM_WITHIN:g} s; it follows when it answers again"
            for slot in said.silent
        )
        return msgspec.structs.replace(plan, warnings=(*plan.warnings, *late))

    def _gather(self) -> Gathered:
        sources = read_record(self._runtime.sources, Sources)
        if sources is None:
            raise ConfigError(f"{self._runtime.sources} can not be read: how the router was started is not known")
        file = load_config_file(sources.file) if sources.file else None
        return gather(sources.flags, sources.environment, file)

    async def _try(self, config: StartConfig) -> Verdict:
        """Publish a configuration's settings; return what the planes said in time."""
        wanted = config.settings()
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
