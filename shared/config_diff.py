"""What is different between two configurations, and whether a reload is enough for it to count."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from shared.config import StartConfig
from shared.config_fields import FIELDS

Need = Literal["reload", "control plane", "planes", "router"]

_CONTROL_PLANE = frozenset({"worker_urls", "workers", "admin_token_file", "hung_plane_secs"})
_PLANES = frozenset({"plane_affinity", "drain_delay_secs", "shutdown_grace_secs"})
_ROUTER = frozenset(
    {"host", "port", "admin_host", "admin_port", "prometheus_host", "prometheus_port", "data_planes", "runtime_dir"}
)


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is different, and what it needs to count.

    - `reload`: no restart at all.
    - `control plane`: `routerctl start` again, which replaces only that; planes get the value from it.
    - `planes`: the same; they are replaced too, one by one.
    - `router`: a stop and a start of all of it; clients, operators or the next start have to look somewhere else.
    """

    key: str
    old: Any
    new: Any
    needs: Need


def diff(old: StartConfig, new: StartConfig) -> tuple[ConfigChange, ...]:
    """Return the changes, in the order of the fields."""
    return tuple(
        ConfigChange(key=field, old=getattr(old, field), new=getattr(new, field), needs=need_of(field))
        for field in FIELDS
        if getattr(old, field) != getattr(new, field)
    )


def need_of(field: str) -> Need:
    """Return what a changed field needs to count."""
    if field in _ROUTER:
        return "router"
    if field in _PLANES:
        return "planes"
    return "control plane" if field in _CONTROL_PLANE else "reload"
