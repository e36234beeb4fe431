"""What the subscriber's state machine wants done. It never does anything itself; `client.py` does."""

from __future__ import annotations

from dataclasses import dataclass

from shared.table import RoutingTable, Stamp


@dataclass(frozen=True, slots=True)
class RequestSnapshot:
    """Ask the control plane for the whole table; call `on_unsent` if the request can not leave."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """Serve new requests from this table."""

    table: RoutingTable


@dataclass(frozen=True, slots=True)
class SendAck:
    """Tell the control plane that this plane serves from the table of that stamp."""

    stamp: Stamp


@dataclass(frozen=True, slots=True)
class SendNack:
    """Tell the control plane that this plane can not serve the table of that stamp, and why."""

    stamp: Stamp
    reason: str


@dataclass(frozen=True, slots=True)
class BecameStale:
    """The control plane fell silent: trust only what this plane sees itself."""


@dataclass(frozen=True, slots=True)
class BecameFresh:
    """The control plane is heard, for the first time or again."""


Action = RequestSnapshot | Adopt | SendAck | SendNack | BecameStale | BecameFresh
