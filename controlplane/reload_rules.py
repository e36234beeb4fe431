"""What becomes of a configuration that a router is to go by: decisions over plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from controlplane.planes import Plane
from shared.config import StartConfig
from shared.config_diff import CONSEQUENCES, ConfigChange, diff, values_text
from shared.config_sources import Gathered
from shared.table import Stamp


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload did. After `refused` everything is as before, and `problems` say why; both are lines for people.

    `possible`: it was only checked, and could be applied. `number` is that of the configuration now in use,
    `written` the file that was given another text.
    """

    outcome: Literal["applied", "unchanged", "possible", "refused"]
    number: int | None = None
    written: str | None = None
    changes: tuple[ConfigChange, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Mode(NamedTuple):
    """How a change is made: only checked, and whether it may leave a router without workers that had some."""

    dry_run: bool = False
    allow_no_workers: bool = False


MODE = Mode()
"""The usual one."""


class Verdict(NamedTuple):
    """What the planes say of a table: why one refuses it, and the places of those that have not said anything."""

    refusal: str | None
    silent: tuple[str, ...]


def judge(old: StartConfig, gathered: Gathered, *, allow_no_workers: bool = False) -> Reloaded:
    """Return what is to become of a configuration: `possible` means that it may be tried."""
    problems = [problem.text for problem in gathered.problems]
    changes = diff(old, gathered.config.with_absolute_paths())
    if not problems:
        problems = [_needs_restart(change, gathered) for change in changes if change.needs != "reload"]
    if not problems and not allow_no_workers:
        problems = [*_loses_all_workers(old, gathered.config)]
    outcome: Literal["possible", "unchanged", "refused"] = "unchanged"
    if problems:
        outcome, changes = "refused", ()
    elif changes:
        outcome = "possible"
    return Reloaded(outcome=outcome, changes=changes, problems=tuple(problems), warnings=gathered.warnings)


def overruled(gathered: Gathered, alone: Gathered) -> tuple[str, ...]:
    """Return a warning for each value of a file that a flag or a variable makes ineffective.

    `alone` is what the file says by itself.
    """
    return tuple(
        f"{place} has no effect: {winner} of the router's start wins"
        for key, place in alone.places.items()
        if place.source == "file"
        and (winner := gathered.places[key]).source != "file"
        and getattr(alone.config, key) != getattr(gathered.config, key)
    )


def triers(planes: Iterable[Plane]) -> tuple[Plane, ...]:
    """Return the planes to try settings on: of each version on each host, the one heard last. They judge alike."""
    newest_last = sorted(planes, key=lambda plane: plane.heard)
    serving = (plane for plane in newest_last if not plane.is_folded and plane.acked is not None)
    return tuple({(plane.identity.version, plane.identity.host): plane for plane in serving}.values())


def verdict(planes: Iterable[Plane], stamp: Stamp) -> Verdict:
    """Return what the planes say of the table of that stamp, or of a later one."""
    silent = []
    for plane in planes:
        if plane.is_folded:
            continue
        if plane.nack is not None and plane.nacked is not None and plane.nacked.order >= stamp.order:
            return Verdict(refusal(plane, plane.nack), ())
        if plane.acked is None or plane.acked.order < stamp.order:
            silent.append(plane.identity.label)
    return Verdict(None, tuple(silent))


def refusal(plane: Plane, reason: str) -> str:
    """Return the refusal of one plane as a problem of the reload."""
    return f"plane {plane.identity.label} refuses it: {reason}"


def _loses_all_workers(old: StartConfig, new: StartConfig) -> Iterator[str]:
    # What a truncated write leaves is a right file: an empty one.
    if old.worker_urls and not new.worker_urls:
        count = len(old.worker_urls)
        yield (
            f"no worker is named, and the list in use has {count}: a file that was cut short looks like that; if it is "
            "meant, run the command with --allow-no-workers (for a watched file: routerctl reload --allow-no-workers)"
        )


def _needs_restart(change: ConfigChange, gathered: Gathered) -> str:
    place = gathered.places[change.key]
    where = str(place) if place.source != "default" else change.key
    return (
        f"{where} can not change by a reload ({values_text(change)}); "
        f"set it back, or start with it: {CONSEQUENCES[change.needs]}"
    )
