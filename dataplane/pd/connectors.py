"""The connectors by their names: the router's own, and those that others have written."""

from __future__ import annotations

from functools import cache

from dataplane.pd.connector import Connector
from dataplane.pd.example import Example
from dataplane.pd.lmcache import LmCache
from dataplane.pd.mooncake import Mooncake
from dataplane.pd.moriio import Moriio
from dataplane.pd.nccl import Nccl
from dataplane.pd.nixl import Nixl
from dataplane.pd.nixl_push import NixlPush
from shared.connector_plugins import PluginError, load_connector_class
from shared.table import RoutingTable

_CONNECTORS: dict[str, type[Connector]] = {
    connector.name: connector for connector in (Nixl, NixlPush, Mooncake, Moriio, Nccl, Example, LmCache)
}


@cache
def connector_of(name: str) -> Connector:
    """Return the connector of a name. Raises PluginError."""
    return _class_of(name)()


def _class_of(name: str) -> type[Connector]:
    own = _CONNECTORS.get(name)
    if own is not None:
        return own
    found = load_connector_class(name)
    if not issubclass(found, Connector):
        raise PluginError(f"connector {name!r} does not derive from dataplane.pd.connector.Connector")
    return found


def refusal(table: RoutingTable) -> str | None:
    """Return why a plane can not go by the connector that a table names, or None when it can."""
    name = table.settings.kv_connector
    if name in _CONNECTORS:
        return None
    try:
        connector_of(name)
    except PluginError as error:
        return str(error)
    except Exception as error:
        # Whatever somebody else's class may raise: better now than when requests wait for it.
        return f"connector {name!r} can not be used ({type(error).__name__}: {error})"
    return None
