"""The paths that the router answers itself, from the plane's table alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from dataplane import mvllm_answers
from dataplane.client_keys import Holder
from dataplane.fleet_view import FleetView
from shared.errors import model_not_allowed, model_not_found
from shared.routes import Route, named_in
from shared.table import WorkerState

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """A small answer."""

    status: int
    content_type: bytes
    body: bytes


NOT_READY = frozenset({"/readiness", "/health"})
"""The paths that tell load balancers to send nothing more while a plane drains."""


def draining(view: FleetView) -> Answer:
    """What these answer then."""
    refusal = {"status": "not_ready", "reason": "the router is stopping", "total_workers": len(view.table.workers)}
    return Answer(503, JSON, msgspec.json.encode(refusal))


def liveness(view: FleetView) -> Answer:
    """Whether this process serves at all."""
    return Answer(200, TEXT, b"OK")


def readiness(view: FleetView) -> Answer:
    """Whether a request would find a worker; shapes as vllm-router's."""
    if view.pools:
        return _readiness_of_pools(view)
    states = [worker.state for worker in view.table.workers.values()]
    body: dict[str, object] = {"status": "ready", "healthy_workers": states.count("ready")}
    if not view.ready:
        body = {"status": "not_ready", "reason": _why_not(states)}
    body |= {"total_workers": len(states), **_drained(states, "draining_workers")}
    return Answer(200 if view.ready else 503, JSON, msgspec.json.encode(body))


def _why_not(states: Sequence[WorkerState]) -> str:
    drained = bool(states) and all(state == "draining" for state in states)
    return "all workers are drained" if drained else "no healthy workers available"


def _drained(states: Sequence[WorkerState], name: str) -> dict[str, int]:
    drained = states.count("draining")
    return {name: drained} if drained else {}


def _readiness_of_pools(view: FleetView) -> Answer:
    workers = view.table.workers.values()
    body: dict[str, object] = {"status": "ready" if view.serves else "not_ready"}
    if not view.serves:
        body["reason"] = _why_not([worker.state for worker in workers])
    for role in view.pools:
        states = [worker.state for worker in workers if worker.role == role]
        body[role] = {"healthy": states.count("ready"), "total": len(states), **_drained(states, "draining")}
    if view.fits is not None and view.fits.why_none and all(pool.ready for pool in view.pools.values()):
        # The reason names workers.
        body["no_pair"] = view.fits.why_none if view.settings.expose_worker else "no two of them can be a pair"
    return Answer(200 if view.serves else 503, JSON, msgspec.json.encode(body))


def health(view: FleetView) -> Answer:
    """Whether the fleet serves. 503 only when no worker takes requests: one dead worker must not take the router down.

    One that is ejected is used when nobody else is there, so the fleet serves. One that is drained has no fault: it is
    not told of, but where nobody else is left, load balancers have to send elsewhere.
    """
    workers = view.table.workers.values()
    serves = view.serves or not workers
    unhealthy = [worker.id for worker in workers if worker.state not in ("ready", "draining")]
    told = "All servers healthy"
    if unhealthy:
        told = (
            f"Unhealthy servers: {unhealthy if view.settings.expose_worker else f'{len(unhealthy)} of {len(workers)}'}"
        )
    elif not serves:
        drained = sum(worker.state == "draining" for worker in workers)
        told = f"No server takes requests: {drained} of {len(workers)} are drained"
    return Answer(200 if serves else 503, TEXT, told.encode())


def models(view: FleetView) -> Answer:
    """Every model of the fleet, and the names that stand for some, in OpenAI's shape."""
    return Answer(200, JSON, view.models_page.body)


def models_for(view: FleetView, key: Holder) -> Answer:
    """Those of them that a client's key may use."""
    entries = view.models_page.entries.items()
    listed = b",".join(entry for name, entry in entries if key.may_use(name))
    return Answer(200, JSON, b'{"object":"list","data":[%b]}' % listed)


def one_model(view: FleetView, name: str) -> Answer:
    """The entry of one model. Raises RouterError when there is none of that name."""
    entry = view.models_page.entries.get(name)
    if entry is None:
        raise model_not_found(name, tuple(view.models_page.entries))
    return Answer(200, JSON, entry)


def mvllm_health(view: FleetView) -> Answer:
    """Tell of the same in mvllm's shape."""
    with_urls = view.settings.expose_worker or view.settings.admin_on_main
    told = mvllm_answers.health(view.table.workers.values(), with_urls=with_urls)
    return Answer(200 if view.serves or not told["total_servers"] else 503, JSON, msgspec.json.encode(told))


def mvllm_service(_view: FleetView) -> Answer:
    """What this is."""
    return Answer(200, JSON, msgspec.json.encode(mvllm_answers.service()))


OWN_ROUTES = {
    "/liveness": liveness,
    "/readiness": readiness,
    "/health": health,
    "/v1/models": models,
}
MVLLM_ROUTES = {**OWN_ROUTES, "/": mvllm_service, "/health": mvllm_health}
"""Those with `--mvllm-compat`."""


def is_answered(view: FleetView, path: str) -> bool:
    """Whether the plane answers a path of one of its own rows; else it is a worker's, as a path without a row is."""
    return path != "/" or view.settings.mvllm_compat


def own_answer(view: FleetView, path: str, route: Route, key: Holder | None = None) -> Answer:
    """Return the answer to GET for a path of one of the plane's own rows; of models only those of the client's key.

    Raises RouterError.
    """
    own = (MVLLM_ROUTES if view.settings.mvllm_compat else OWN_ROUTES).get(path)
    if own is models and key is not None:
        return models_for(view, key)
    if own is not None:
        return own(view)
    name = named_in(path, route)
    if key is not None and not key.may_use(name):
        raise model_not_allowed(key.name, name)
    return one_model(view, name)
