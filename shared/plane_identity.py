"""Which plane somebody speaks of."""

from __future__ import annotations

import msgspec


class PlaneIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """One life of one plane. `id` is random; `slot` is the place it fills (0 .. N-1); `started` is Unix seconds.

    `wire` is the digest of the messages that its code speaks (`shared.plane_fingerprint`), as it told itself.

    `host` names the other host that it runs on; empty for planes beside the control plane. Slots count per host.
    """

    id: str
    slot: int
    pid: int
    version: str
    started: float
    host: str = ""
    wire: str = ""

    @property
    def label(self) -> str:
        """Its place, for people and metrics: `0`, or `gpu-b/0` on another host."""
        return f"{self.host}/{self.slot}" if self.host else str(self.slot)
