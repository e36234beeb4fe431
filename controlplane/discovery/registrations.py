"""Who has registered, and who is gone. Pure: messages and times go in, what changes comes out.

A ping says that a worker's process was there; whether the worker serves is for its health checks to say, and so is
whether it does no more. So a ping makes nothing ready, and a missed one removes nothing:

- Who has been *quiet* for longer than a ping interval is looked at, once.
- Who is *silent*, and has not been well for as long, is gone: both at a time.
- Who is silent and well stays. Its thread that pings may have died, or a router's network; its engine has not.

Entries expire each by itself. Nobody who pings, or is well, makes room for somebody new.

Of those that have never been well only a few are looked at. Who finds no room among them waits (`waiting_room`), and
comes in as soon as one of them is well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.discovery.discovered import Announced
from controlplane.discovery.networks import read_address
from controlplane.discovery.refusals import RefusedError
from controlplane.discovery.registration import Farewell, Place, Registration
from controlplane.discovery.waiting_room import WaitingRoom
from shared.worker_rank import split_rank
from shared.worker_url import origin

QUIET = 5 / 3
"""Ping intervals: vLLM pings every 3 s, and its own proxy takes entries for gone after 5."""
SILENT = 5
"""Ping intervals without a ping, and without health, until a worker is gone: of vLLM's, two lost ones and one that is
late by 2 s make 11 s of 15."""
MAX_WORKERS = 2048
"""Data-parallel ranks count each. Every worker costs a task here and a place in every plane's table."""
MAX_PER_SENDER = 256
"""Of these from one address: more than a host has engines, also where a cluster's nodes speak for their pods."""
MAX_UNPROVEN = 96
MAX_UNPROVEN_PER_SENDER = 32
"""Of these, workers that have never been well: being looked at they cost 100 KB each, and anybody can make them up.
Where more want to be looked at, they take turns."""
UNPROVEN_TURN = 10.0
"""Seconds for which one of these is not put off for another one of as many from the same address."""
LONGEST_SWEEP_PAUSE = 3.0
"""Seconds between sweeps above which this process stood still, and pings with it."""


@dataclass(slots=True)
class _Entry:
    told: Registration
    ids: tuple[str, ...]
    sender: str
    heard: float
    unwell: float | None = None
    was_asked: bool = False

    @property
    def quiet(self) -> float:
        """Seconds of silence after which it is looked at."""
        return QUIET * self.told.interval

    @property
    def silent(self) -> float:
        """Seconds of silence, and of not being well, after which it is gone."""
        return SILENT * self.told.interval


class Heard(NamedTuple):
    """What a ping changed: `now` are a server's workers since then, `before` those that it had."""

    told: Registration
    ids: tuple[str, ...]
    before: tuple[str, ...] = ()
    is_new_life: bool = False


class Swept(NamedTuple):
    """URLs that should be looked at, ids of workers that are gone, and those that found room, with who sent them."""

    quiet: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    came: tuple[tuple[Heard, str], ...] = ()


class Registrations:
    """The servers that have registered, by place."""

    def __init__(self, ranks: int = 1) -> None:
        """`ranks` is how many workers a server is that does not tell."""
        self._ranks = ranks
        self._entries: dict[Place, _Entry] = {}
        self._by_sender: Counter[str] = Counter()
        self._unproven: Counter[str] = Counter()
        # Places, the first to come first.
        self._never_well: dict[Place, float] = {}
        self._waiting = WaitingRoom(MAX_WORKERS, MAX_PER_SENDER)
        self._workers = 0
        self._swept: float | None = None

    def __len__(self) -> int:
        """Return the number of workers."""
        return self._workers

    @property
    def is_waited(self) -> bool:
        """Whether somebody waits for room."""
        return bool(self._waiting)

    def restore(self, known: Mapping[str, Announced], *, now: float) -> None:
        """Take over the workers of an earlier control plane, as if all had pinged now."""
        urls: dict[str, list[str]] = {}
        for key in known:
            urls.setdefault(split_rank(key)[0], []).append(key)
        for url, ids in urls.items():
            told = Registration(url=url, announced=known[ids[0]], ranks=len(ids))
            # Nobody is known to have sent it: any sender may change it.
            self._put(_Entry(told, tuple(ids), "", now), None)

    def heard(self, told: Registration, sender: str, *, now: float) -> Heard | None:
        """Take in a registration. Returns what it changes, None when it is as known. Raises RefusedError."""
        entry, ids = self._entries.get(told.place), told.ids(self._ranks)
        if entry is None:
            self._check_room(sender, len(ids))
            try:
                self._make_room(sender, len(ids), now)
            except RefusedError:
                self._waiting.come(told, sender, until=now + SILENT * told.interval)
                raise
            return self._begin(told, sender, now)
        if told.registrar and told.registrar == entry.told.registrar and told.seq <= entry.told.seq:
            raise RefusedError("old", f"message {told.seq} of {told.url} comes after {entry.told.seq}")
        is_same = told.announced == entry.told.announced and ids == entry.ids
        is_new_life = told.life != entry.told.life and bool(entry.told.life)
        if is_same and not is_new_life:
            self._refresh(entry, told, sender, now)
            return None
        self._check_right(entry, sender, now)
        came = self._never_well.get(told.place)
        self._take(told.place)
        try:
            self._check_room(sender, len(ids))
            if came is not None:
                self._make_room(sender, len(ids), now)
        except RefusedError:
            self._put(entry, came)
            raise
        self._put(_Entry(told, ids, sender, now, unwell=entry.unwell), came)
        return Heard(told, ids, entry.ids, is_new_life)

    def goodbye(self, told: Farewell, sender: str, *, now: float) -> tuple[str, ...]:
        """Forget a server that says that it ends; returns its workers. Raises RefusedError."""
        place = origin(told.url)
        self._waiting.leave(place, sender)
        entry = self._entries.get(place)
        if entry is None:
            return ()
        # One from before a restart, which has registered since, takes nobody away.
        if told.registrar != entry.told.registrar or told.seq <= entry.told.seq:
            raise RefusedError("old", f"the goodbye of {told.url} comes after another registration of it")
        self._check_right(entry, sender, now)
        return self._take(place).ids

    def sweep(self, *, now: float, is_well: Callable[[str], bool]) -> Swept:
        """Find out who is quiet and who is gone; to be called about each second. `is_well` tells it of an id."""
        if self._swept is not None and (stood := now - self._swept) > LONGEST_SWEEP_PAUSE:
            for entry in self._entries.values():
                entry.heard = min(now, entry.heard + stood)
                entry.unwell = None if entry.unwell is None else min(now, entry.unwell + stood)
        self._swept = now
        quiet: list[str] = []
        gone: list[Place] = []
        for place, entry in self._entries.items():
            if any(is_well(key) for key in entry.ids):
                entry.unwell = None
                if self._never_well.pop(place, None) is not None:
                    self._unproven[entry.sender] -= len(entry.ids)
            elif entry.unwell is None:
                entry.unwell = now
            silence = now - entry.heard
            if silence >= entry.silent and entry.unwell is not None and now - entry.unwell >= entry.silent:
                gone.append(place)
            elif silence >= entry.quiet and not entry.was_asked:
                entry.was_asked = True
                quiet.append(entry.told.url)
        left = tuple(key for place in gone for key in self._take(place).ids)
        return Swept(tuple(quiet), left, tuple(self._let_in(now)))

    def _let_in(self, now: float) -> Iterator[tuple[Heard, str]]:
        """Let those in that wait and find room now, those first of whose senders the fewest are looked at."""
        self._waiting.forget(now)
        senders = self._waiting.senders()
        while senders:
            sender = min(senders, key=lambda sender: self._unproven[sender])
            told = self._waiting.first(sender)
            if told is None or not self._has_room(sender, len(told.ids(self._ranks))):
                senders.remove(sender)
                continue
            heard = self._begin(told, sender, now)
            yield heard, sender

    def _has_room(self, sender: str, count: int) -> bool:
        """Whether one more server can be looked at without another one being put off."""
        looked_at = self._unproven[sender]
        if looked_at and looked_at + count > MAX_UNPROVEN_PER_SENDER:
            return False
        others = looked_at < self._unproven.total()
        if others and self._unproven.total() + count > MAX_UNPROVEN:
            return False
        return self._by_sender[sender] + count <= MAX_PER_SENDER and self._workers + count <= MAX_WORKERS

    def _begin(self, told: Registration, sender: str, now: float) -> Heard:
        self._waiting.leave(told.place)
        ids = told.ids(self._ranks)
        self._put(_Entry(told, ids, sender, now), now)
        return Heard(told, ids)

    def announced(self) -> dict[str, Announced]:
        """Return what all workers say of themselves, by id."""
        return {key: entry.told.announced for entry in self._entries.values() for key in entry.ids}

    def silent(self, now: float) -> int:
        """Return how many workers are there without pinging."""
        return sum(len(entry.ids) for entry in self._entries.values() if now - entry.heard >= entry.silent)

    def _check_room(self, sender: str, count: int) -> None:
        if self._by_sender[sender] + count > MAX_PER_SENDER:
            raise RefusedError("sender_limit", f"{MAX_PER_SENDER} workers have been registered from there already")
        if self._workers + count > MAX_WORKERS:
            raise RefusedError("limit", f"{MAX_WORKERS} workers have registered already")

    def _make_room(self, sender: str, count: int, now: float) -> None:
        """Put off servers that were never well, so that one more can be looked at. Raises RefusedError."""
        while self._unproven[sender] and self._unproven[sender] + count > MAX_UNPROVEN_PER_SENDER:
            if not self._put_off(sender, now - UNPROVEN_TURN):
                text = f"{MAX_UNPROVEN_PER_SENDER} workers from there are not healthy yet; it has to wait"
                raise RefusedError("sender_limit", text)
        while self._unproven[sender] < self._unproven.total() and self._unproven.total() + count > MAX_UNPROVEN:
            most, its_count = self._unproven.most_common(1)[0]
            # Whoever floods is put off for those that do not.
            came_before = now if its_count > self._unproven[sender] + count else now - UNPROVEN_TURN
            if not self._put_off(most, came_before):
                raise RefusedError("limit", f"{MAX_UNPROVEN} workers are not healthy yet; it has to wait")

    def _put_off(self, sender: str, came_before: float) -> bool:
        """Forget the server of a sender that came first, if it came early enough and was never well."""
        for place, came in self._never_well.items():
            if self._entries[place].sender == sender:
                if came > came_before:
                    return False
                self._take(place)
                return True
        return False

    @staticmethod
    def _check_right(entry: _Entry, sender: str, now: float) -> None:
        """Raise RefusedError for a sender that may not change a registration."""
        # While the one who made it is there, only that one may, and the worker itself.
        if sender == entry.sender or not entry.sender or now - entry.heard >= entry.silent:
            return
        named = read_address(entry.told.place[1])
        if named is None or named != read_address(sender):
            raise RefusedError(
                "conflict", f"{entry.told.url} is registered otherwise from {entry.sender}, and is there"
            )

    def _refresh(self, entry: _Entry, told: Registration, sender: str, now: float) -> None:
        entry.told, entry.heard, entry.was_asked = told, now, False
        if not entry.sender:
            came = self._never_well.get(told.place)
            self._take(told.place)
            entry.sender = sender
            self._put(entry, came)

    def _put(self, entry: _Entry, came: float | None) -> None:
        """Have an entry; `came` is when it did, None of one that has been well."""
        self._entries[entry.told.place] = entry
        self._by_sender[entry.sender] += len(entry.ids)
        if came is not None:
            self._never_well[entry.told.place] = came
            self._unproven[entry.sender] += len(entry.ids)
        self._workers += len(entry.ids)

    def _take(self, place: Place) -> _Entry:
        entry = self._entries.pop(place)
        self._workers -= len(entry.ids)
        self._by_sender[entry.sender] -= len(entry.ids)
        if not self._by_sender[entry.sender]:
            del self._by_sender[entry.sender]
        if self._never_well.pop(place, None) is not None:
            self._unproven[entry.sender] -= len(entry.ids)
        if not self._unproven[entry.sender]:
            del self._unproven[entry.sender]
        return entry
