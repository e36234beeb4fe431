"""How a plane on another host finds its control plane: written by `routerctl plane`, read by the planes it starts."""

from __future__ import annotations

import msgspec

from shared.config import StartConfig
from shared.plane_fingerprint import plane_fingerprint
from shared.remote_address import RemoteAddress


class Uplink(msgspec.Struct, frozen=True, kw_only=True):
    """Where the control plane is and who may talk to it. All paths are absolute; no key is in it.

    `name` is by what this host is known there. `keys` is the planes' own secret file, `server_keys` a file or a
    folder with the control plane's public key, or several while it is being replaced.
    """

    address: RemoteAddress
    name: str
    keys: str
    server_keys: str


def remote_fingerprint(config: StartConfig, uplink: Uplink) -> str:
    """Return what a plane on another host takes only at its start, as `plane_fingerprint` does for others."""
    return f"{plane_fingerprint(config)} control={uplink.address} name={uplink.name}"
