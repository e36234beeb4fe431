"""Policies that others have written (`shared.plugins`), in the entry point group `routerctl.policies`."""

from __future__ import annotations

from shared.plugins import MODULE_AND_CLASS, Kind, PluginError

_KIND = Kind("policy", "routerctl.policies", "pick", "dataplane.policies.Policy")

plugin_names = _KIND.names
load_policy_class = _KIND.load

__all__ = ["MODULE_AND_CLASS", "PluginError", "load_policy_class", "plugin_names"]
