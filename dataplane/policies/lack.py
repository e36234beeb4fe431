"""What a choice is counted under for which a policy found nothing to go by."""

from __future__ import annotations

from dataplane.policies.base import RequestView
from shared.routes import UNKNOWN, route_of

NO_ENGINE = "no_engine"
"""What no engine works on, such as `/version`, has neither a session nor a prompt: nothing is missing there."""


def lack(outcome: str, request: RequestView) -> str:
    """Return `outcome`, the policy's word for what it lacked, or `NO_ENGINE`."""
    route = route_of(request.path)
    if route is UNKNOWN:
        return outcome if request.body else NO_ENGINE
    return outcome if route.model and not route.is_computed else NO_ENGINE
