"""The book of leases: what each plane may be using of every limit, and what it is granted next. No socket, no clock.

The one rule: what all planes may be using together is never more than the limit. A plane may be using

- what it told that is in use, and whatever lease it may have taken up since: those sent after the one that it goes by;
- once it has gone by no grant for `LEASE_LIFE`, at least its fallback, which it takes when it hears nothing.

A part that one plane does not need is taken back by a smaller lease, and is free when the plane tells that it goes by
that: never before. A plane that is silent keeps what it had until it is heard, or known to be dead; one that is heard
again when its leases have lapsed begins anew. What a dead plane may have taken of a window counts until that window is
over; one that ends by request tells what it took.

A new book knows nothing of what an earlier one has granted. It lends nothing before every plane has told that lived
when it began, or `LEASE_LIFE` is over. If some have not told then, all that the others do not hold counts as held by
these for as long as it may be (`held_for`), and their fallback from then on. Of a window the same counts for planes
that died before the book began, for as long as one may have.

Only limits that something happened to are looked at again, a bounded number at a time, the one that has waited longest
first: of each there is a page (`limit_book`), and of each plane an account. Limits of keys are lent once a plane
reports them, and taken back when nobody has for a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from math import inf

from controlplane.admission.account import Account, Grant
from controlplane.admission.limit_book import LONG_AGO, LimitBook, Scene, Set
from shared.leases import LEASE_LIFE, Lease, LeaseReport
from shared.limits import WINDOW, Kind, Limit, Taken, held_for, is_on_demand

MAX_PLANES = 1024
FORGOTTEN_AFTER = 60.0
"""Seconds after which a limit on demand that nobody uses or needs is taken back: clients come back within a minute."""
_LOOK_AT = 16
"""Pages that are looked at again at each `look`, though nothing was heard of them: time may have changed something."""
AT_ONCE = 64
"""Pages that are decided about in one turn of the event loop: some 7 ms with four planes."""
_TURNS = 16
"""Turns in which each page's comes, however many there are: half a second, as if a message took that long."""
_KINDS: tuple[Kind, ...] = ("slots", "rate", "window")


class Ledger:
    """All leases of one life of the control plane. Times are monotonic seconds."""

    def __init__(
        self, epoch: int, alive: Iterable[str], now: float, haunted_until: float = -inf, at_once: int = AT_ONCE
    ) -> None:
        """Begin with the ids of the planes that live already: an earlier control plane may have granted them all.

        Until `haunted_until` a window may have been used by planes that died before now. `at_once` pages are decided
        about at a time.
        """
        self._at_once = at_once
        self._epoch = epoch
        self._began = now
        self._unheard = set(alive)
        self._haunted_until = haunted_until
        self._accounts: dict[str, Account] = {}
        self._limits: dict[str, Limit] = {}
        self._set: dict[str, Set] = {}
        self._new: set[str] = set()
        self._awaited: set[str] = set()
        self._books: dict[str, LimitBook] = {}
        # The first one has been in it for longest.
        self._dirty: dict[str, None] = {}
        self.is_behind = False
        """Whether there is more to decide at once."""
        self._idle: dict[str, float] = {}
        self._planes = 1
        self._longest = 0.0
        self._number = 0
        self._standing: object = None
        self._weights: dict[str, int] = {}

    def use(
        self,
        limits: Iterable[Limit],
        planes: int,
        longest: float,
        weights: Mapping[str, int] | None = None,
        *,
        was_set: Set = LONG_AGO,
        present: Iterable[str] = (),
    ) -> None:
        """Go by these limits, among so many planes (more are counted if more are heard).

        No request lasts over `longest` seconds; `weights` are those of the tenants where they are not 1. Limits that
        are new are set by `was_set`, while planes of these ids are `present`: requests may be open there.
        """
        self._weights = dict(weights or {})
        before, self._limits = self._limits, {limit.name: limit for limit in limits}
        if new := [name for name, one in self._limits.items() if name not in before or before[name].kind != one.kind]:
            self._set = {name: one for name, one in self._set.items() if name in self._limits}
            self._set.update(dict.fromkeys(new, was_set))
            self._awaited = set(present) - self._accounts.keys()
        self._planes = planes
        self._longest = longest
        for name, book in self._books.items():
            limit = self._limits.get(name)
            if limit is None or limit.kind != book.limit.kind:
                book.limit = book.limit._replace(amount=0)
                self._drop(name, book)
            elif limit != book.limit:
                book.limit = limit
                self._dirty.setdefault(name)

    def heard(self, report: LeaseReport, now: float) -> bool:
        """Take a plane's report in; False when it tells nothing new, or builds upon one that is not known here."""
        if report.epoch != self._epoch:
            # The plane may still go by what an earlier control plane sends.
            return False
        name = report.plane.id
        account = self._accounts.get(name)
        if account is None:
            if len(self._accounts) >= MAX_PLANES or report.since:
                return False
            account = self._accounts[name] = Account.of(report, now)
        elif report.seq <= account.seq:
            return False
        elif account.has_lost(report, now):
            # It is not given back what it had: others may have taken their fallbacks meanwhile.
            account = self._accounts[name] = Account.of(report, now)
            for page in self._books.values():
                page.lost(name)
            self._mark(self._books)
        self._unheard.discard(name)
        self._awaited.discard(name)
        moved = account.take(report, now)
        for limit, holding in report.holdings.items():
            if (book := self._book(limit)) is not None:
                book.told(name, holding)
        for limit in (*moved, *report.holdings):
            book = self._books.get(limit)
            if book is not None:
                book.applied(name, account.applied)
                self._dirty.setdefault(limit)
        # Perhaps it was the last that had to tell of these.
        self._mark(self._new)
        return True

    def _book(self, name: str) -> LimitBook | None:
        """Return a limit's page, a new one if need be; None where there is no such limit."""
        book = self._books.get(name)
        if book is None and name in self._limits:
            book = self._books[name] = LimitBook(self._limits[name], self._set[name])
            self._new.add(name)
        return book

    def gone(self, plane: str, now: float) -> bool:
        """Know that a plane is dead, and with it all that it had but for windows. Returns whether it had an account."""
        self._awaited.discard(plane)
        if plane in self._unheard:
            self._unheard.discard(plane)
            self._haunted_until = now + WINDOW
            return True
        account = self._accounts.get(plane)
        if account is None:
            return False
        if account.may_have_settled(now):
            # It may have used windows of which nothing is known.
            self._haunted_until = now + WINDOW
        for book in self._books.values():
            book.gone(account, self._count, now)
        del self._accounts[plane]
        return True

    def ended(self, plane: str, windows: Mapping[str, Taken], now: float) -> bool:
        """Know that a plane has ended by request, and all that it took of windows. Returns whether that is news."""
        for name in windows:
            self._book(name)
        self._awaited.discard(plane)
        is_news = plane in self._unheard or plane in self._accounts or bool(windows)
        self._unheard.discard(plane)
        self._accounts.pop(plane, None)
        for name, book in self._books.items():
            book.ended(plane, windows.get(name, {}), now)
        self._mark(self._books)
        return is_news

    def silent(self, now: float) -> tuple[str, ...]:
        """Return the planes that should have told something by now."""
        late = [name for name, account in self._accounts.items() if not account.is_awake(now)]
        return (*late, *self._unheard) if now - self._began > LEASE_LIFE else tuple(late)

    def in_use(self, name: str) -> int:
        """Return how much of a limit the planes told to be in use."""
        book = self._books.get(name)
        return book.in_use() if book is not None else 0

    def wanted(self, name: str) -> Counter[str]:
        """Return what clients of the planes could use of a limit now, by tenant: what is in use and what waits."""
        book = self._books.get(name)
        return book.wanted() if book is not None else Counter()

    def lent(self, name: str, now: float) -> int:
        """Return how much of a limit all planes may be using."""
        book = self._books.get(name)
        return book.lent(self._accounts.values(), self._count, now) if book is not None else 0

    @property
    def _count(self) -> int:
        """How many planes there are, as far as is known."""
        return max(self._planes, len(self._accounts) + len(self._unheard))

    def look(self, now: float) -> None:
        """Look at some pages again that nothing was heard of, in turns, and at those that nobody needs any more."""
        self._mark(self._new)
        count = max(_LOOK_AT, len(self._books) // 64)
        for name in list(islice(self._books, count)):
            self._dirty.setdefault(name)
            self._books[name] = self._books.pop(name)
        for name, since in list(self._idle.items()):
            if now - since < FORGOTTEN_AFTER:
                break
            self._drop(name, self._books[name])

    def due(self, now: float) -> tuple[Grant, ...]:
        """Return the grants that are to be sent now: changed ones, and renewals.

        Of many limits a part is decided about; there is more to do at once while the book `is_behind`.
        """
        scene = self._scene(now)
        self.is_behind = False
        if not scene.awake:
            return ()
        changed: list[dict[str, Lease | None]] = [{} for _ in scene.awake]
        for account in scene.awake:
            if account.is_new and account.undecided is None:
                # All there are, as it was not there before.
                account.undecided = len(self._dirty)
        names = list(islice(self._dirty, max(self._at_once, len(self._books) // _TURNS)))
        for name in names:
            del self._dirty[name]
            book = self._books.get(name)
            if book is not None:
                self._turn(name, book, scene, changed)
            if book is None or not book.is_new:
                self._new.discard(name)
        self.is_behind = bool(self._dirty)
        grants = []
        for account, leases in zip(scene.awake, changed, strict=True):
            if leases:
                self._note(account, leases)
            if account.is_new and account.undecided is not None:
                # Its first grant takes the place of all that it has, so it waits until that is whole.
                account.undecided -= len(names)
                if account.undecided > 0:
                    continue
            if account.draft or account.needs_renewal(now):
                grants.append(account.grant(account.number or self._next(), now))
        return tuple(grants)

    def _note(self, account: Account, leases: dict[str, Lease | None]) -> None:
        """Count what the next grant of a plane will tell it as if it had been sent."""
        account.number = account.number or self._next()
        account.draft.update(leases)
        for name, lease in leases.items():
            self._books[name].granted(account.plane, account.number, lease)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _mark(self, names: Iterable[str]) -> None:
        self._dirty.update(dict.fromkeys(names))

    def _scene(self, now: float) -> Scene:
        awake: list[Account] = []
        asleep: list[Account] = []
        for account in self._accounts.values():
            (awake if account.is_awake(now) else asleep).append(account)
        is_known = not self._unheard or now - self._began > LEASE_LIFE
        veiled = frozenset(kind for kind in _KINDS if self._is_veiled(kind, now))
        planes = self._count
        lapsed = tuple(account.plane for account in self._accounts.values() if account.has_lapsed(now))
        standing = ([one.plane for one in awake], lapsed, is_known, veiled, planes, len(self._unheard), self._weights)
        if standing != self._standing:
            # What a plane may come to use has changed by time alone, or who there is.
            self._standing = standing
            self._mark(self._books)
        return Scene(awake, asleep, planes, len(self._unheard), is_known, veiled, self._weights, self._awaited, now)

    def _is_veiled(self, kind: Kind, now: float) -> bool:
        if kind == "window" and now <= self._haunted_until:
            return True
        return bool(self._unheard) and now <= self._began + LEASE_LIFE + held_for(kind, self._longest)

    def _turn(self, name: str, book: LimitBook, scene: Scene, changed: list[dict[str, Lease | None]]) -> None:
        """Decide about a limit; note for each plane that is awake what is new to it."""
        if not book.is_idle or not is_on_demand(name):
            self._idle.pop(name, None)
            if book.is_dropped and name in self._limits:
                book.begin_anew(self._limits[name], self._set[name])
                self._new.add(name)
        elif not book.is_dropped:
            self._idle.setdefault(name, scene.now)
        if book.is_dropped:
            for account, leases in zip(scene.awake, changed, strict=True):
                if account.lease(name) is not None:
                    leases[name] = None
                else:
                    account.leases.forget(name, account.applied)
            if book.is_empty:
                del self._books[name]
            return
        for account, leases, lease in zip(scene.awake, changed, book.leases(scene), strict=True):
            if account.lease(name) != lease:
                leases[name] = lease

    def _drop(self, name: str, book: LimitBook) -> None:
        book.is_dropped = True
        self._idle.pop(name, None)
        self._dirty.setdefault(name)
