"""The plane's memory of its last requests: why each went where it went, and how long its parts took.

Every request leaves a short record. The choice itself is written down in detail only for some
`DETAILED_PER_SECOND`, whatever the traffic: so a busy plane spends nothing worth speaking of on it, and on a quiet
one, where a person tries things out, it is there for each request.

A detailed record refers to the view that the choice was made from. Views are big and many where tables change often,
so only the last `VIEWS` are kept for it.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from dataplane.fleet_view import FleetView, PoolName
from dataplane.model_routes import Taken
from dataplane.policies import Why
from dataplane.slot import Slot
from dataplane.subsets import Served
from dataplane.tracing.context import AttemptSpan
from shared.errors import OWN_HEADERS, WORKER_HEADER
from shared.table import Stamp

DETAILED_PER_SECOND = 50
VIEWS = 32
MAX_TEXT = 200
"""Characters of what a client chose: ids, paths, models."""
MAX_LISTED = 32
"""Workers in each of a receipt's lists."""


class Detail:
    """A choice in detail, as it is written down while it is made."""

    __slots__ = ("loads", "offered", "unsuited", "view", "why")

    def __init__(self, view: FleetView, offered: Sequence[Slot], why: Why, now: float) -> None:
        """Write down what `why` tells of the choice among those `offered`; `now` is the loop's time in seconds."""
        self.view = weakref.ref(view)
        self.offered = frozenset(slot.id for slot in offered)
        self.why = why
        # Why workers were left out for this request alone, by their ids.
        self.unsuited: Mapping[str, str] = {}
        listed = {choice.worker for choice in why.choices[:MAX_LISTED]}
        self.loads = {slot.id: (slot.figures(), slot.engine_age(now)) for slot in offered if slot.id in listed}


class Try:
    """One attempt: the worker, what for, when it began (the loop's time in seconds), and why it failed."""

    __slots__ = ("began", "detail", "failed", "policy", "pool", "span", "withdrawn", "worker")

    is_again = False

    def __init__(
        self, worker: str, began: float, detail: Detail | None, pool: PoolName = "plain", policy: str = ""
    ) -> None:
        """`policy` is the name of the one that chose."""
        self.worker = worker
        self.policy = policy
        self.began = began
        self.detail = detail
        self.failed = ""
        self.pool: PoolName = pool
        # It did not fail: what it was chosen for has come to nothing.
        self.withdrawn = False
        # Of a request that is traced.
        self.span: AttemptSpan | None = None

    def again(self, began: float) -> Try:
        """Return another one at the same worker, over a new connection, for which nobody had to choose."""
        return _Again(self.worker, began, None, self.pool, self.policy)


class _Again(Try):
    """One that does not count: the worker had closed the kept connection before it could read the request."""

    __slots__ = ()

    is_again = True


def count_of(tries: Sequence[Try]) -> int:
    """Return how many of them count as attempts."""
    return sum(not one.is_again for one in tries)


Times = tuple[float, float, float]
"""When a request arrived, its answer's first byte came (0: never) and it ended: the loop's time in seconds."""


class Waited(NamedTuple):
    """How a request waited for its turn: behind how many, how long that was thought to take and did, in seconds.

    `expected` is None where nothing was known. `took` lasts until the request went on, or ended. `limit` is the name of
    the one that had no room for it.
    """

    position: int
    expected: float | None
    took: float
    limit: str


class Extra(NamedTuple):
    """What only some requests have: the id of a trace, the arm that a name of `[models]` stood for, a client's key.

    `limit` is the one that a request was over.
    """

    trace: str = ""
    arm: Taken | None = None
    key: str | None = None
    waited: Waited | None = None
    limit: str = ""


NOTHING = Extra()


class Record(NamedTuple):
    """A request that has ended. `view` is there when none of its workers could take the request.

    `model` is the name that the client sent.
    """

    request_id: bytes
    method: str
    path: str
    model: str | None
    times: Times
    outcome: str
    status: int
    view: weakref.ref[FleetView] | None
    policy: str
    stamp: Stamp
    tries: Sequence[Try]
    extra: Extra

    @property
    def served(self) -> Served | None:
        """What its candidates were looked up by."""
        return self.extra.arm.arm.served if self.extra.arm is not None else self.model


Row = tuple[
    bytes,
    str,
    str,
    str | None,
    Times,
    str,
    int,
    "weakref.ref[FleetView] | None",
    str,
    Stamp,
    Sequence[Try],
    Extra,
]
"""The fields of `Record`, in their order."""
_NOBODY = frozenset({"rejected no_worker_available", "rejected model_not_found"})
"""Outcomes without an attempt for which the workers' states are the reason. All others had none to do with them."""


class Receipts:
    """The last `size` records, and a quarter as many of those in which something went wrong, which stay longer.

    As many are kept of those that were refused for what the client did wrong, apart: however many of them come, they
    push out none that failed.
    """

    def __init__(self, size: int) -> None:
        self._last: deque[Row] = deque(maxlen=size)
        self._troubled: deque[Row] = deque(maxlen=size // 4)
        self._refused: deque[Row] = deque(maxlen=size // 4)
        self._views: deque[FleetView] = deque(maxlen=VIEWS)
        self._details_left = DETAILED_PER_SECOND

    def resize(self, size: int) -> None:
        """Keep so many from now on."""
        if size != self._last.maxlen:
            self._last = deque(self._last, maxlen=size)
            self._troubled = deque(self._troubled, maxlen=size // 4)
            self._refused = deque(self._refused, maxlen=size // 4)

    def refill(self) -> None:
        """Let the next second's choices be written down. Called once a second."""
        self._details_left = DETAILED_PER_SECOND if self._last.maxlen else 0

    def why(self) -> Why | None:
        """Return something to write a choice down in, when this one is to be."""
        if not self._details_left:
            return None
        self._details_left -= 1
        return Why()

    def refer(self, view: FleetView) -> None:
        """Keep a view for the records that refer to it."""
        if not self._views or self._views[-1] is not view:
            self._views.append(view)

    def keep(
        self,
        request_id: bytes,
        method: str,
        path: str,
        model: str | None,
        times: Times,
        outcome: str,
        status: int,
        view: FleetView,
        tries: Sequence[Try],
        extra: Extra = NOTHING,
    ) -> Row:
        """Remember a request that has ended under `view`; return what is remembered."""
        is_nobody = not tries and outcome in _NOBODY
        if is_nobody:
            self.refer(view)
        # A plain tuple: this is done for each request, and read for hardly any.
        row = (
            request_id[:MAX_TEXT],
            method[:MAX_TEXT],
            path[:MAX_TEXT],
            model and model[:MAX_TEXT],
            times,
            outcome,
            status,
            weakref.ref(view) if is_nobody else None,
            tries[-1].policy if tries else view.policy_of(model if extra.arm is None else extra.arm.arm.model).name,
            view.table.stamp,
            tries,
            extra,
        )
        self._last.append(row)
        if outcome != "answered" or status >= 500 or (len(tries) > 1 and any(one.failed for one in tries)):
            is_refused = not tries and outcome != "answered" and 400 <= status < 500
            (self._refused if is_refused else self._troubled).append(row)
        return row

    def last(self, most: int, *, troubled: bool = False) -> list[Record]:
        """Return the last records, the newest first; with `troubled` only those in which something went wrong."""
        rows = self._troubled if troubled else self._last
        return [Record(*row) for row in islice(reversed(rows), most)]

    def find(self, request_id: bytes) -> Record | None:
        """Return the newest record of that id."""
        request_id = request_id[:MAX_TEXT]
        for rows in (self._last, self._troubled, self._refused):
            for row in reversed(rows):
                if row[0] == request_id:
                    return Record(*row)
        return None


def name_worker(headers: list[tuple[bytes, bytes]], view: FleetView, worker: str, tries: Sequence[Try]) -> None:
    """Have an answer's head name the worker and, if the operator wants that too, say why it was chosen."""
    headers[:] = [field for field in headers if not field[0].startswith(OWN_HEADERS)]
    headers.append((WORKER_HEADER, worker.encode()))
    if view.settings.explain:
        headers.extend(explaining(view, tries))


def explaining(view: FleetView, tries: Sequence[Try]) -> Iterable[tuple[bytes, bytes]]:
    """Return the header fields that say in short what a receipt says (`--explain`)."""
    stamp = view.table.stamp
    yield b"x-routerctl-policy", tries[-1].policy.encode()
    yield b"x-routerctl-table", b"%d.%d" % (stamp.epoch, stamp.version)
    yield b"x-routerctl-attempts", b"%d" % count_of(tries)
    detail = tries[-1].detail
    if detail is not None and (told := detail.why.choices or detail.why.note):
        reason = told if isinstance(told, str) else told[0].reason
        yield b"x-routerctl-why", reason.encode("ascii", "replace")
