"""What every way of discovery tells of a worker."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from shared.table import Role
from shared.transfer import Transfer
from shared.worker_attributes import NOTHING_SAID, WorkerAttributes
from shared.worker_rank import split_rank

Source = Literal["static", "admin", "zmq"]


class Announced(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker that registers says of itself."""

    attributes: WorkerAttributes = NOTHING_SAID
    transfer: Transfer | None = None


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
