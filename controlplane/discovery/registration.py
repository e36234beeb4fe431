"""What a worker says of itself when it registers, whatever protocol it speaks."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from controlplane.discovery.discovered import Announced
from shared.worker_rank import rank_ids
from shared.worker_url import origin

Place = tuple[str, str, int]
"""Scheme, host and port: what is equal for URLs that mean the same server."""


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A server that is there. `ranks` is the number of its data-parallel ranks, None where it did not tell.

    `life` is different for each run of the server, "" where it did not tell; `interval` the seconds between its pings.
    `registrar` is who sent it and `seq` the number of that one's message, where senders tell.
    """

    url: str
    announced: Announced
    ranks: int | None = None
    life: str = ""
    interval: float = 3.0
    registrar: str = ""
    seq: int = 0

    @property
    def place(self) -> Place:
        """Where it is."""
        return origin(self.url)

    def ids(self, ranks: int) -> tuple[str, ...]:
        """Return the ids of its workers; `ranks` is how many a server has that did not tell."""
        return rank_ids(self.url, self.ranks or ranks)


class Farewell(NamedTuple):
    """A server that is about to end, in the words of `Registration`."""

    url: str
    registrar: str
    seq: int
