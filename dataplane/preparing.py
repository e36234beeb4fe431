"""What policies prepare for a request before their first choice; one that two workers serve may have two of them."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from dataplane.fleet_view import FleetView
from dataplane.policies import Policy, RequestView


class Preparing(NamedTuple):
    """What is being prepared, by classes of policies, which need it once; `done` has the results in their order."""

    kinds: tuple[type[Policy], ...]
    done: asyncio.Future[Any]

    def results(self) -> dict[type[Policy], Any]:
        """Return what came of it. Raises what a policy's own preparation raised."""
        return dict(zip(self.kinds, self.done.result(), strict=True))


def prepare(view: FleetView, request: RequestView, *, disaggregated: bool) -> Preparing | None:
    """Begin; None, as for most: there is nothing to wait for."""
    if not disaggregated:
        policy = view.policy_of(request.model)
        future = policy.prepare(request)
        return None if future is None else Preparing((type(policy),), asyncio.gather(future))
    by_kind: dict[type[Policy], Policy] = {}
    for pool in view.pools.values():
        policy = pool.policy_of(request.model)
        # Few have anything to prepare.
        if (kind := type(policy)).prepare is not Policy.prepare:
            by_kind[kind] = policy
    if not by_kind:
        return None
    futures = {kind: policy.prepare(request) for kind, policy in by_kind.items()}
    begun = {kind: future for kind, future in futures.items() if future is not None}
    return Preparing(tuple(begun), asyncio.gather(*begun.values())) if begun else None
