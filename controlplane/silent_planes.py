"""What people are told of a worker that can not be called drained because planes are silent. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.planes import LOST_AFTER, Plane

_MAX_NAMED = 3


def silence(planes: Sequence[Plane]) -> str:
    """Return which planes may still send there, and what to do; empty for none."""
    if not planes:
        return ""
    names = [_name(plane) for plane in planes[:_MAX_NAMED]]
    if len(planes) > _MAX_NAMED:
        names.append(f"{len(planes) - _MAX_NAMED} more")
    be, one = ("is", "it") if len(planes) == 1 else ("are", "each")
    told = f"{', '.join(names)} {be} silent and may still send there, until {one} is heard or ended"
    if any(plane.identity.host for plane in planes):
        told += f"; one on another host counts as gone after {LOST_AFTER:g} s of silence"
    return told


def _name(plane: Plane) -> str:
    return f"plane {plane.identity.label} (pid {plane.identity.pid})"
