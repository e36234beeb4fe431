"""Connectors that others have written (`shared.plugins`), in the entry point group `routerctl.connectors`."""

from __future__ import annotations

from shared.plugins import MODULE_AND_CLASS, Kind, PluginError

_KIND = Kind("connector", "routerctl.connectors", "prefill", "dataplane.pd.connector.Connector")

connector_names = _KIND.names
load_connector_class = _KIND.load

__all__ = ["MODULE_AND_CLASS", "PluginError", "connector_names", "load_connector_class"]
