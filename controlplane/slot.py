"""One slot of the router: it is filled by one plane, and by another when that one dies or is replaced."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from controlplane.children import Plane
from controlplane.events.event import about
from controlplane.watched import Watched

log = logging.getLogger("supervisor")


@dataclass(frozen=True)
class Occupant:
    """A plane in a slot, and the watch over its process."""

    plane: Plane
    watched: Watched

    @property
    def id(self) -> str:
        """The plane's id."""
        return self.plane.identity.id

    @property
    def is_alive(self) -> bool:
        """Whether its end has not been seen yet."""
        return self.watched.is_alive

    def __str__(self) -> str:
        return str(self.plane)


class House(Protocol):
    """What a slot needs of the supervisor."""

    async def settle(self, slot: Slot, after: Occupant | None) -> Occupant:
        """Start a plane for the slot, which continues another one's work; however often the system refuses."""
        ...

    async def until_serving(self, occupant: Occupant) -> bool:
        """Wait until it serves; False when it died before."""
        ...

    async def mourn(self, watched: Watched, deaths: int) -> int | None:
        """Tell of a death and wait before the next life; None when there is to be none, else the new count."""
        ...

    def retire(self, occupant: Occupant, *, is_hung: bool = False) -> None:
        """Have it end: by request with its grace time, or at once when it is hung."""
        ...


class Slot:
    """Keeps one slot filled.

    `outdated` is a plane of an earlier supervisor that serves until the first one of ours does.
    """

    def __init__(self, number: int, house: House, outdated: Occupant | None = None) -> None:
        self.number = number
        self.current: Occupant | None = None
        self.is_serving = False
        self.is_being_replaced = False
        self.outdated = outdated
        self._house = house
        self._successor: Occupant | None = None
        self._moved = asyncio.Event()

    def moved(self) -> None:
        """Look again at who is here. Called at each of its planes' ends, too."""
        self._moved.set()

    @property
    def elder(self) -> Occupant | None:
        """The plane that serves here, and whose work a new one continues; None when there is none."""
        served = self.current if self.is_serving else self.outdated
        return served if served is not None and served.is_alive else None

    async def keep(self, occupant: Occupant, served: asyncio.Event) -> None:
        """Keep the slot filled for ever, beginning with this plane. `served` is set once it serves."""
        deaths: int | None = 0
        while deaths is not None:
            self.current = occupant
            how = "started" if occupant.watched.is_own_child else "adopted"
            log.info("%s %s", how, occupant, extra=about("process", occupant))
            if await self._house.until_serving(occupant):
                self._now_serving(occupant)
                served.set()
                occupant = await self._until_death(occupant)
            self.is_serving = False
            if self._successor is not None:
                # It was about to come anyway.
                told, cause = about("process", occupant), occupant.watched.cause
                log.error("%s %s while %s was to replace it", occupant, cause, self._successor, extra=told)
                occupant, self._successor, deaths = self._successor, None, 0
                continue
            deaths = await self._house.mourn(occupant.watched, deaths)
            if deaths is not None:
                occupant = await self._house.settle(self, self.elder)

    def _now_serving(self, occupant: Occupant) -> None:
        self.current, self.is_serving = occupant, True
        log.info("%s serves", occupant, extra=about("process", occupant))
        outdated, self.outdated = self.outdated, None
        if outdated is not None:
            self._house.retire(outdated)

    async def _until_death(self, occupant: Occupant) -> Occupant:
        """Wait until whoever is here has died, and return it."""
        while occupant.is_alive:
            await self._moved.wait()
            self._moved.clear()
            assert self.current is not None  # noqa: S101 - one plane follows the other
            occupant = self.current
        return occupant

    async def replace(self, patience: float, *, is_hung: bool = False) -> str:
        """Replace the plane that serves here by a new one; return why not, or nothing.

        The old one is asked to end once the new one serves. When the new one does not within `patience` seconds, it
        is ended, and the old one stays.
        """
        if self.is_being_replaced:
            return f"plane {self.number} is being replaced already"
        self.is_being_replaced = True
        try:
            return await self._replace(patience, is_hung=is_hung)
        finally:
            self.is_being_replaced = False

    async def _replace(self, patience: float, *, is_hung: bool) -> str:
        old = self.current
        # One that hangs would not hand anything on.
        new = await self._house.settle(self, None if is_hung else old)
        if old is None or not self.is_serving or self.current is not old:
            new.watched.kill()
            return f"slot {self.number} had just lost its plane"
        self._successor = new
        log.info("started %s, which is to replace %s", new, old, extra=about("process", new))
        try:
            async with asyncio.timeout(patience):
                serves = await self._house.until_serving(new)
        except TimeoutError:
            serves = False
        if self._successor is not new:
            # The old one died, and this one has its place.
            return "" if serves else f"{old} died meanwhile, and {new} does not serve yet"
        self._successor = None
        if not serves:
            cause = f"did not serve within {patience:g} s" if new.is_alive else f"{new.watched.cause} before it served"
            new.watched.kill()
            return f"{new} {cause}"
        self._now_serving(new)
        self.moved()
        self._house.retire(old, is_hung=is_hung)
        return ""
