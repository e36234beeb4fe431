"""How a plane shares its file descriptors out, so that neither side can take what the other needs.

Clients are limited by granian, connections to workers by `Allowance`; the rest is for the plane itself. So no
accept ever fails for want of a descriptor: granian would try again at once, for ever, on a whole core.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

# Of one plane, before its one thread of Python would be the limit.
_MOST_CLIENTS = 65536
# A plane has about 40 open files of its own, and some more while it is asked how it is or looks a name up.
_LEAST_RESERVED = 64
_MOST_RESERVED = 256

OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
"""What the kernel says when this process, or the machine, has no descriptor left: nothing about a worker."""

T = TypeVar("T")


class Shares(NamedTuple):
    """How many connections there may be, to each side."""

    clients: int
    workers: int


def share_out(descriptors: int) -> Shares:
    """Divide a limit of open files: each client needs one connection to a worker beside its own, as a rule.

    Clients get a little more: those for whom there is no second one are there to be told so.
    """
    reserved = max(_LEAST_RESERVED, min(_MOST_RESERVED, descriptors // 4))
    left = max(2, min(2 * _MOST_CLIENTS, descriptors - reserved))
    workers = left * 15 // 32
    return Shares(left - workers, workers)


class Allowance(Generic[T]):
    """The connections to workers that may be open at a time, over all workers of a plane.

    `reclaim` is called when all are taken: it closes an idle one if there is any, and tells whether it did.
    """

    def __init__(self, limit: int, reclaim: Callable[[], bool]) -> None:
        self._limit = limit
        self._reclaim = reclaim
        self._taken: set[T] = set()

    @property
    def taken(self) -> int:
        """How many are open, or being opened."""
        return len(self._taken)

    def take(self, connection: T) -> None:
        """Count a connection that is about to be opened. Raises OSError (EMFILE) when none is left."""
        if len(self._taken) >= self._limit and not self._reclaim():
            raise OSError(errno.EMFILE, "all file descriptors for connections to workers are in use")
        self._taken.add(connection)

    def give_back(self, connection: T) -> None:
        """Know that a connection is closed, or was never made."""
        self._taken.discard(connection)
