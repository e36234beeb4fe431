"""A request for a name of `[models]` becomes one for what the name stands for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dataplane.candidates import is_reachable
from dataplane.fleet_view import FleetView
from dataplane.form import with_form_model
from dataplane.model_routes import Route, Taken
from dataplane.model_splice import with_model

if TYPE_CHECKING:
    from dataplane.forward import Forwarder
    from dataplane.request import Request


def take_arm(forwarder: Forwarder, view: FleetView, request: Request) -> None:
    """Have a request whose body has come take its arm, and the model's name stand in the body.

    Called where there are such names at all. A name that stands in the query is not rewritten. Raises RouterError when
    no arm has a worker that is ready, or the body can not be rewritten.
    """
    route = view.routes.get(request.model) if request.model is not None else None
    if route is None:
        return
    taken = _choose(forwarder, view, route, request)
    if taken is None:
        raise view.refusal(route.name)
    _become(forwarder, request, taken, route.name)


def leave_arm(forwarder: Forwarder, request: Request) -> bool:
    """Have a request take another arm when no worker of its own could be reached; whether there is one."""
    view, before = forwarder.fleet.view, request.arm
    route = view.routes.get(before.arm.name) if before is not None else None
    if before is None or route is None:
        return False
    if is_reachable(forwarder.fleet, view, before.arm.served, forwarder.loop.time()):
        return False
    taken = _choose(forwarder, view, route, request)
    if taken is None or taken.arm.served == before.arm.served:
        return False
    _become(forwarder, request, taken, before.arm.sent_as)
    return True


def _choose(forwarder: Forwarder, view: FleetView, route: Route, request: Request) -> Taken | None:
    fleet = forwarder.fleet
    if request.wanted and len(route.arms) > 1:
        home = fleet.homes.home(request.wanted, view.ready, ())
        made_by = next((arm for arm in route.arms if any(home in group for group in view.groups(arm.served))), None)
        if made_by is not None:
            return Taken(made_by, "response")
    if fleet.avoidance:
        now = forwarder.loop.time()
        reachable = Route(route.name, route.arms, lambda served: is_reachable(fleet, view, served, now))
        route = reachable if reachable.open else route
    taken = route.take(request.client.fields, view.session_headers, forwarder.rng)
    if taken is not None and taken.arm.rewrite and request.client.route.model == "query":
        return Taken(taken.arm._replace(rewrite=False), taken.by)
    return taken


def _become(forwarder: Forwarder, request: Request, taken: Taken, sent_as: str) -> None:
    """Take an arm; `sent_as` is the name that stands in the body so far."""
    arm = taken.arm
    if request.arm is None and arm.rewrite:
        forwarder.accounting.spliced["model"] += 1
    request.arm = taken
    request.model, request.served = arm.model, arm.served
    if arm.sent_as != sent_as:
        client = request.client
        if client.route.model == "form":
            request.body = with_form_model(request.body, client.fields, arm.sent_as)
        else:
            request.body = with_model(request.body, sent_as, json.dumps(arm.sent_as))
