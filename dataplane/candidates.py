"""Who may be chosen for an attempt: of those that a view offers, the ones that were not tried, the best first."""

from __future__ import annotations

from collections.abc import Collection, Set
from itertools import chain
from typing import TYPE_CHECKING

from dataplane.fleet_view import FleetView
from dataplane.priority import first_usable
from dataplane.slot import Slot
from dataplane.subsets import Served

if TYPE_CHECKING:
    from dataplane.fleet import Fleet
    from dataplane.request import Request


def candidates_of(
    fleet: Fleet, view: FleetView, request: Request, tried: Collection[Slot], now: float
) -> tuple[Slot, ...]:
    """Return the candidates; empty when nobody is left. `now` is the loop's time in seconds."""
    if request.wanted and (home := fleet.homes.home(request.wanted, view.ready, tried)) is not None:
        return (home,)
    served, rank = request.served, request.rank
    candidates = view.candidates(served, rank)
    if tried:
        candidates = tuple(slot for slot in candidates if slot not in tried)
    if view.has_priorities:
        left = (tuple(slot for slot in group if slot not in tried) for group in view.groups(served, rank))
        candidates = first_usable(left, lambda slot: fleet.avoidance.avoids(slot, now))
    if fleet.avoidance.until or fleet.slow_start.warming:
        return fleet.preferred(candidates, now)
    return candidates


def free_candidates(
    fleet: Fleet, view: FleetView, request: Request, tried: Collection[Slot], full: Set[str], now: float
) -> tuple[Slot, ...] | None:
    """Return the candidates that are not `full` (by ids); empty when it has to wait for one; None when nobody is left.

    Workers of a lower priority take what those of a higher one have no room for. One that could not be reached a moment
    ago has all its slots free: a request rather waits for another one.
    """
    if request.wanted and (home := fleet.homes.home(request.wanted, view.ready, tried)) is not None:
        return () if home.id in full else (home,)
    groups = [tuple(slot for slot in group if slot not in tried) for group in view.groups(request.served, request.rank)]
    free = (tuple(slot for slot in group if slot.id not in full) for group in groups)
    avoidance = fleet.avoidance
    found = first_usable(free, lambda slot: avoidance.avoids(slot, now))
    if not avoidance.until:
        return found or (() if any(groups) else None)
    found = avoidance.preferred(found, now)
    if found and not avoidance.avoids(found[0], now):
        return found
    if not all(avoidance.avoids(slot, now) for slot in chain.from_iterable(groups)):
        return ()
    return found or (() if any(groups) else None)


def is_reachable(fleet: Fleet, view: FleetView, served: Served | None, now: float) -> bool:
    """Whether some worker of the view could be reached when it was last tried."""
    if not fleet.avoidance:
        return bool(view.candidates(served))
    return any(not fleet.avoidance.avoids(slot, now) for group in view.groups(served) for slot in group)
