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

_WEIGHTS = (
    "weights are workers' own (`weight` in [[workers]], `routerctl workers weight`), and every policy keeps to them"
)
_SAID_ELSEWHERE = {
    "weighted": _WEIGHTS,
    "weighted_round_robin": _WEIGHTS,
    "weighted_random": _WEIGHTS,
    "rendezvous_hash": "consistent_hash keeps sessions at their workers in the same way",
    "least_connections": "least_load counts each worker's requests",
    "least_conn": "least_load counts each worker's requests",
    "least_request": "least_load counts each worker's requests",
    "prefix_aware": "cache_aware goes by prompts' prefixes",
    "session_affinity": "consistent_hash and sticky_least_loaded keep sessions at their workers",
}
"""What does here what other routers have under these names."""


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
    written = policy.replace("-", "_")
    near = nearest(written, names)
    hint = f"did you mean {near}? Choose" if near else "choose"
    if (said := _SAID_ELSEWHERE.get(written)) is not None:
        hint = f"{said}. Choose"
    return f"is {policy!r}; {hint} one of: {', '.join(names)}, or module:Class for your own"
