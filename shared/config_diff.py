"""What is different between two configurations, and whether a reload is enough for it to count."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from shared.config import ADMIN_TLS_FILES, PROMETHEUS_TLS_FILES, SERVER_TLS_FILES, StartConfig
from shared.config_fields import FIELDS

Need = Literal["reload", "control plane", "planes", "router"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MOST_SHOWN = 10
"""Parts of a list that are named; the others are counted."""

_CONTROL_PLANE = frozenset(
    {
        "admin_token_file",
        *ADMIN_TLS_FILES,
        "prometheus_token_file",
        *PROMETHEUS_TLS_FILES,
        "console",
        "hung_plane_secs",
        "vllm_discovery_address",
        "discovery_allow",
        "discovery_curve_address",
        "discovery_keys",
        "service_discovery",
        "service_discovery_port",
        "service_discovery_namespace",
        "selector",
        "prefill_selector",
        "decode_selector",
        "service_discovery_credentials",
        "control_bind",
        "control_keys",
        "kv_event_source",
        "kv_event_replay_source",
        "kv_event_block_size",
        "kv_index_max_blocks",
        "intra_node_data_parallel_size",
        "metrics_compat",
    }
)
_PLANES = frozenset(
    {*SERVER_TLS_FILES, "plane_affinity", "drain_delay_secs", "shutdown_grace_secs", "log_format", "log_dir"}
)
_ROUTER = frozenset(
    {"host", "port", "admin_host", "admin_port", "prometheus_host", "prometheus_port", "data_planes", "runtime_dir"}
)

CONSEQUENCES: Mapping[Need, str] = {
    "reload": "a reload is enough",
    "control plane": "`routerctl start` again replaces the control plane",
    "planes": "`routerctl start` again replaces the planes one by one",
    "router": "stop the router and start it anew",
}
"""What makes a change count, in words for people."""


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


def change_text(change: ConfigChange) -> str:
    """Return a change as one line for people."""
    return f"{change.key}: {values_text(change)}"


def values_text(change: ConfigChange) -> str:
    """Return both values of a change as the file writes them; of lists it names what came and what went."""
    old, new = _listed(change.old), _listed(change.new)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        parts = _named("+", [part for part in new if part not in old]) + _named("-", [p for p in old if p not in new])
        return " ".join(parts) or "the same in another order"
    return f"{value_text(old)} -> {value_text(new)}"


def _listed(value: Any) -> Any:
    """Return a table as a list of what its lines are; any other value as it is."""
    if not isinstance(value, dict):
        return value
    return [f"{_key(key)} = {_toml(one)}" for key, one in msgspec.to_builtins(value).items()]


def value_text(value: Any) -> str:
    """Return a value as the file writes it."""
    return "(not set)" if value is None else _toml(msgspec.to_builtins(value))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _toml(value: Any) -> str:
    """Return a value in TOML. JSON's texts and numbers are TOML's too."""
    if isinstance(value, dict):
        pairs = (f"{_key(key)} = {_toml(one)}" for key, one in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _named(sign: str, parts: Sequence[object]) -> list[str]:
    more = [f"({sign}{len(parts) - _MOST_SHOWN} more)"] if len(parts) > _MOST_SHOWN else []
    shown = (part if isinstance(part, str) else value_text(part) for part in parts[:_MOST_SHOWN])
    return [*(f"{sign}{part}" for part in shown), *more]
