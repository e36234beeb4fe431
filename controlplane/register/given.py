"""What the operator says of a worker that registers: it counts over what the engine tells."""

from __future__ import annotations

import msgspec

from shared.table import Role
from shared.transfer import TransferMode


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of `routerctl register` that describe the worker; None and "" are what was not said.

    `interval` is seconds between pings. The rest is as in `shared.registration.Announcement`.
    """

    interval: float = 3.0
    role: Role | None = None
    models: tuple[str, ...] | None = None
    ranks: int | None = None
    connector: str = ""
    address: str = ""
    mode: TransferMode | None = None
    bootstrap_port: int | None = None
    dp_size: int | None = None
    tp_size: int | None = None
    labels: dict[str, str] = {}
    weight: float | None = None
    capacity: float | None = None
    max_concurrent_requests: int | None = None
    priority: int | None = None
