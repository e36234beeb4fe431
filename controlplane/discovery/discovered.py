"""What every way of discovery tells of a worker."""

from __future__ import annotations

from typing import Literal, NamedTuple

from shared.table import Role

Source = Literal["static", "admin"]


class Discovered(NamedTuple):
    """A worker that should exist. Whether it answers is found out by `controlplane.prober`.

    `draining` is why it is to get no more requests; empty when it is to get some.
    """

    id: str
    url: str
    role: Role = "regular"
    source: Source = "static"
    draining: str = ""
