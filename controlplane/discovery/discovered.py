"""What every way of discovery tells of a worker."""

from __future__ import annotations

from typing import NamedTuple

from shared.table import Role


class Discovered(NamedTuple):
    """A worker that should exist. Whether it answers is found out by `controlplane.prober`."""

    id: str
    url: str
    role: Role = "regular"
