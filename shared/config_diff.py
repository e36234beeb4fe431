"""What is different between two configurations, and what has to start anew for a difference to count."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from shared.config import StartConfig
from shared.config_fields import FIELDS

Restart = Literal["control plane", "planes", "router"]

_PLANES = frozenset({"plane_affinity", "shutdown_grace_secs", "log_level"})
_ROUTER = frozenset(
    {"host", "port", "admin_host", "admin_port", "prometheus_host", "prometheus_port", "data_planes", "runtime_dir"}
)


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is different, and what restarts so that it counts.

    - `control plane`: only that; planes get the value from it while they run.
    - `planes`: they are replaced one by one.
    - `router`: all of it; clients, operators or the next start have to look somewhere else.
    """

    key: str
    old: Any
    new: Any
    restart: Restart


def diff(old: StartConfig, new: StartConfig) -> tuple[ConfigChange, ...]:
    """Return the changes, in the order of the fields."""
    return tuple(
        ConfigChange(key=field, old=getattr(old, field), new=getattr(new, field), restart=restart_for(field))
        for field in FIELDS
        if getattr(old, field) != getattr(new, field)
    )


def restart_for(field: str) -> Restart:
    """Return what has to start anew for a changed field to count."""
    if field in _ROUTER:
        return "router"
    return "planes" if field in _PLANES else "control plane"
