"""How a worker is chosen: one policy a file, behind the interface in `base.py`."""

from __future__ import annotations

import inspect
import random

from dataplane.policies.base import Candidate, Choice, PlaneView, Policy, RequestView, Why
from dataplane.policies.cache_aware import CacheAware
from dataplane.policies.consistent_hash import ConsistentHash
from dataplane.policies.kv_aware import KvAware
from dataplane.policies.least_load import LeastLoad
from dataplane.policies.power_of_two import PowerOfTwo
from dataplane.policies.random_choice import RandomChoice
from dataplane.policies.round_robin import RoundRobin
from dataplane.policies.sticky_least_loaded import StickyLeastLoaded
from dataplane.policies.weights import has_weights
from shared.policy_places import policy_names_of
from shared.policy_plugins import PluginError, load_policy_class
from shared.table import RoutingTable

__all__ = [
    "Candidate",
    "Choice",
    "PlaneView",
    "Policy",
    "RequestView",
    "Why",
    "lead",
    "policy_class",
    "policy_names",
    "refusal",
]

_OWN: dict[str, type[Policy]] = {
    policy.name: policy
    for policy in (
        CacheAware,
        ConsistentHash,
        KvAware,
        LeastLoad,
        PowerOfTwo,
        RandomChoice,
        RoundRobin,
        StickyLeastLoaded,
    )
}


def policy_names() -> tuple[str, ...]:
    """The names of the router's own policies."""
    return tuple(_OWN)


def policy_class(name: str) -> type[Policy]:
    """Return the policy of a name. Raises PluginError."""
    own = _OWN.get(name)
    if own is not None:
        return own
    found = load_policy_class(name)
    if not issubclass(found, Policy):
        raise PluginError(f"policy {name!r} does not derive from dataplane.policies.Policy")
    return found


def lead(policy: Policy, table: RoutingTable) -> None:
    """Have a policy go by a new table."""
    policy.weighted = has_weights(table)
    policy.follow(table)


def refusal(table: RoutingTable) -> str | None:
    """Return why a plane can not go by a policy that a table names, or None when it can."""
    for name in sorted(policy_names_of(table.settings) - _OWN.keys()):
        if (reason := _plugin_refusal(name, table)) is not None:
            return reason
    return None


def _plugin_refusal(name: str, table: RoutingTable) -> str | None:
    try:
        policy = policy_class(name)(PlaneView(0, random.Random()))
        # As it is called for requests whose choice is written down.
        inspect.signature(policy.pick).bind((), None, Why())
        policy.follow(table)
    except PluginError as error:
        return str(error)
    except Exception as error:
        # Whatever somebody else's class may raise: better now than when requests wait for it.
        return f"policy {name!r} can not be used ({type(error).__name__}: {error})"
    return None
