"""What every way of discovery tells of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from shared.table import Role
from shared.transfer import Transfer
from shared.worker_attributes import NOTHING_SAID, WorkerAttributes
from shared.worker_rank import place, split_rank

Source = Literal["static", "admin", "zmq", "kubernetes"]
TELLERS: tuple[Source, ...] = ("zmq", "kubernetes")
"""Who tells of workers that come and go by themselves. Of one that several tell of, the first of these counts."""


class Announced(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told of a worker that came by itself: by itself when it registers, or by the cluster that runs it.

    `life` is another one where another server has taken the worker's address; empty where nobody tells. `held` is why
    it is to get no requests for now; empty when it is to get some.
    """

    attributes: WorkerAttributes = NOTHING_SAID
    transfer: Transfer | None = None
    source: Source = "zmq"
    life: str = ""
    held: str = ""


class Discovered(NamedTuple):
    """A worker that should exist. Whether it answers is found out by `controlplane.prober`.

    `draining` is why it is to get no more requests; empty when it is to get some. What operators said of it while the
    router runs (`said`) lies over what the source says (`attributes`). `transfer` is None where nobody told it.
    """

    id: str
    source: Source = "static"
    draining: str = ""
    attributes: WorkerAttributes = NOTHING_SAID
    said: WorkerAttributes = NOTHING_SAID
    transfer: Transfer | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return split_rank(self.id)[0]

    @property
    def rank(self) -> int | None:
        """Which data-parallel rank of the engines there it is; None where they are one worker."""
        return split_rank(self.id)[1]

    @property
    def role(self) -> Role:
        """The worker's role; regular where nobody says otherwise."""
        return self.said.role or self.attributes.role or "regular"


def merged(told: Mapping[Source, Mapping[str, Announced]]) -> dict[str, Announced]:
    """Return all workers that came by themselves, by id. However their URLs are written, each is there once."""
    found: dict[str, Announced] = {}
    taken: set[tuple[str, str, int, int | None]] = set()
    for source in TELLERS:
        new = {key: one for key, one in told.get(source, {}).items() if place(key) not in taken}
        found.update(new)
        taken.update(map(place, new))
    return found
