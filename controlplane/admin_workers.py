"""`/workers` on the admin port: JSON in and out. A worker's id is its URL, percent-encoded within a path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Set
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import check_query, json_answer, read_body
from controlplane.membership import Done, Membership, MembershipError, no_worker
from controlplane.status_report import StatusReport, WorkerStatus
from shared.decoding import DECODE_ERRORS
from shared.table import WorkerState
from shared.worker_attributes import AttributeChange, ConfiguredWorker, attributes_of

T = TypeVar("T")

_YES = ("", "1", "true", "yes")


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A worker after a change. After one of all data-parallel ranks of a URL, `id` is the URL, and `ranks` has theirs.

    The rest is then the first one's.

    `on_every_plane`: no plane routes otherwise any more. `kept`: a restart of the control plane does not undo it.
    """

    id: str
    url: str
    ranks: tuple[str, ...] = ()
    state: WorkerState
    reason: str
    labels: dict[str, str]
    weight: float
    capacity: float | None
    max_concurrent_requests: int | None
    priority: int
    on_every_plane: bool
    kept: bool


class WorkerList(msgspec.Struct):
    """Workers; and which the configuration names, but an operator has removed."""

    workers: tuple[WorkerStatus, ...]
    removed: tuple[str, ...]


def worker_routes(status: Callable[[], StatusReport], membership: Membership) -> list[Route]:
    """Return the routes."""

    async def show_all(request: Request) -> Response:
        check_query(request, "label")
        wanted = _labels(request.query_params.getlist("label"))
        report = status()
        found = tuple(worker for worker in report.workers if wanted <= worker.labels.items())
        return json_answer(WorkerList(found, report.removed))

    async def show(request: Request) -> Response:
        name = request.path_params["id"]
        ids = [worker.id for worker in membership.find(name)]
        if len(ids) > 1:
            raise MembershipError(409, "several_workers", f"{name[:200]} is several workers; name one, as {ids[0]}.")
        found = [shown for shown in status().workers if shown.id in ids]
        if not found:
            raise no_worker(name)
        return json_answer(found[0])

    async def add(request: Request) -> Response:
        wanted = await _decoded(request, ConfiguredWorker, '{"url": "http://host:port"}')
        done = await membership.add(wanted.url, attributes_of(wanted))
        return _changed(done, 201 if done.is_new else 200)

    async def change(request: Request) -> Response:
        wanted = await _decoded(request, AttributeChange, '{"weight": 0.5}')
        return _changed(await membership.change(request.path_params["id"], wanted))

    async def remove(request: Request) -> Response:
        check_query(request, "force")
        force = request.query_params.get("force", "no").lower() in _YES
        return _changed(await membership.remove(request.path_params["id"], force=force))

    def verb(act: Callable[[str], Awaitable[Done]]) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def answer(request: Request) -> Response:
            return _changed(await act(request.path_params["id"]))

        return answer

    return [
        Route("/workers", show_all),
        Route("/workers", add, methods=["POST"]),
        Route("/workers/{id:path}/drain", verb(membership.drain), methods=["POST"]),
        Route("/workers/{id:path}/undrain", verb(membership.undrain), methods=["POST"]),
        Route("/workers/{id:path}", show),
        Route("/workers/{id:path}", change, methods=["PATCH"]),
        Route("/workers/{id:path}", remove, methods=["DELETE"]),
    ]


def _changed(done: Done, status: int = 200) -> Response:
    worker, *others = done.workers
    told = Changed(
        id=worker.url if others else worker.id,
        url=worker.url,
        ranks=tuple(one.id for one in done.workers if one.rank is not None),
        state=worker.state,
        reason=worker.reason,
        labels=worker.labels,
        weight=worker.weight,
        capacity=worker.capacity,
        max_concurrent_requests=worker.max_concurrent_requests,
        priority=worker.priority,
        on_every_plane=done.is_on_every_plane,
        kept=done.is_kept,
    )
    return json_answer(told, status)


def _labels(texts: list[str]) -> Set[tuple[str, str]]:
    """Return what a worker's labels must hold. Raises MembershipError."""
    for text in texts:
        if "=" not in text:
            raise MembershipError(400, "bad_label", f"label is {text[:100]!r}; write name=text, such as zone=a.")
    return {(name, value) for name, _, value in (text.partition("=") for text in texts)}


async def _decoded(request: Request, shape: type[T], example: str) -> T:
    try:
        return msgspec.json.decode(await read_body(request), type=shape)
    except DECODE_ERRORS as error:
        raise MembershipError(400, "bad_body", f"The body is not such as {example}: {error}.") from None
