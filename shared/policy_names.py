"""The names that a policy may have in a configuration: the router's own, installed ones, and `module:Class`."""

from __future__ import annotations

import re

from shared.config_fields import nearest

POLICIES = (
    "cache_aware",
    "kv_aware",
    "consistent_hash",
    "sticky_least_loaded",
    "least_load",
    "power_of_two",
    "round_robin",
    "random",
)


def policy_fault(policy: str) -> str | None:
    """Return why nothing can go by a policy of that name, as the end of a sentence about it; None when something can.

    Imports the class of one that is not the router's own.
    """
    if policy in POLICIES:
        return None
    # Only for those who use one: it takes a while to import.
    from shared.policy_plugins import MODULE_AND_CLASS, PluginError, load_policy_class, plugin_names

    names = (*POLICIES, *plugin_names())
    if policy in names or re.fullmatch(MODULE_AND_CLASS, policy):
        try:
            load_policy_class(policy)
        except PluginError as error:
            return f"can not be used: {error}"
        return None
    near = nearest(policy.replace("-", "_"), names)
    hint = f"did you mean {near}? Choose" if near else "choose"
    return f"is {policy!r}; {hint} one of: {', '.join(names)}, or module:Class for your own"
