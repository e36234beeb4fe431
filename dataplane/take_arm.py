"""A request for a name of `[models]` becomes one for what the name stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.fleet_view import FleetView
from dataplane.model_routes import Taken
from dataplane.model_splice import with_model
from shared.routes import ModelIn

if TYPE_CHECKING:
    from dataplane.forward import Forwarder
    from dataplane.request import Request

_NOT_JSON: frozenset[ModelIn] = frozenset({"form", "query"})


def take_arm(forwarder: Forwarder, view: FleetView, request: Request) -> None:
    """Have a request whose body has come take its arm, and the model's name stand in the body.

    Called where there are such names at all. A name that stands in a form or in the query is not rewritten. Raises
    RouterError when no arm has a worker that is ready, or the body can not be rewritten.
    """
    route = view.routes.get(request.model) if request.model is not None else None
    if route is None:
        return
    taken = forwarder.take(route, request.client.fields)
    if taken is None:
        raise view.refusal(route.name)
    arm = taken.arm
    if request.client.route.model in _NOT_JSON and arm.rewrite is not None:
        arm = arm._replace(rewrite=None)
        taken = Taken(arm, taken.by)
    request.arm = taken
    request.model, request.served = arm.model, arm.served
    if arm.rewrite is not None:
        forwarder.accounting.spliced["model"] += 1
        request.body = with_model(request.body, route.name, arm.rewrite)
