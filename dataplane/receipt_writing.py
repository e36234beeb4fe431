"""A receipt as people and programs get it, written out of what was remembered of a request. No clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from dataplane.fleet_view import FleetView
from dataplane.load import Figures
from dataplane.model_routes import Taken
from dataplane.pd.pools import roles_of
from dataplane.receipts import MAX_LISTED, Record, Try
from dataplane.subsets import Served, Subset
from shared.receipt import ArmReceipt, AttemptReceipt, ChoiceReceipt, LeftOut, LoadReceipt, QueueReceipt, Receipt
from shared.table import Role, Worker


def receipt(record: Record, *, plane: str, arrived: float) -> Receipt:
    """Write a record out. `plane` is the plane's label, `arrived` Unix time in seconds."""
    view = record.view() if record.view is not None else None
    began, first_byte, ended = record.times
    extra = record.extra
    return Receipt(
        request=record.request_id.decode("latin-1"),
        plane=plane,
        method=record.method,
        path=record.path,
        arrived=arrived,
        ended=ended - began,
        outcome=record.outcome,
        status=record.status,
        policy=record.policy,
        epoch=record.stamp.epoch,
        version=record.stamp.version,
        model=record.model,
        trace=extra.trace,
        arm=_arm(extra.arm) if extra.arm is not None else None,
        key=extra.key,
        first_byte=first_byte - began if first_byte else None,
        queue=QueueReceipt(**extra.waited._asdict()) if extra.waited is not None else None,
        limit=extra.limit,
        attempts=tuple(_attempt(one, record, record.tries[:number]) for number, one in enumerate(record.tries)),
        left_out=tuple(_left_out(view, record.served, frozenset(), (), {})) if view is not None else (),
    )


def _arm(taken: Taken) -> ArmReceipt:
    arm = taken.arm
    return ArmReceipt(
        to=arm.model,
        labels=dict(arm.served.labels) if isinstance(arm.served, Subset) else {},
        by=taken.by,
        rewritten=arm.rewrite,
    )


def _attempt(one: Try, record: Record, earlier: Sequence[Try]) -> AttemptReceipt:
    began = one.began - record.times[0]
    detail = one.detail
    if detail is None:
        return AttemptReceipt(
            worker=one.worker,
            leg=one.pool,
            policy=one.policy,
            began=began,
            failed=one.failed,
            is_again=one.is_again,
        )
    view = detail.view()
    return AttemptReceipt(
        worker=one.worker,
        leg=one.pool,
        policy=one.policy,
        began=began,
        failed=one.failed,
        is_detailed=True,
        note=detail.why.note,
        choices=tuple(
            ChoiceReceipt(
                worker=choice.worker,
                reason=choice.reason,
                score=choice.score,
                load=_load(*known) if (known := detail.loads.get(choice.worker)) is not None else None,
            )
            for choice in detail.why.choices[:MAX_LISTED]
        ),
        left_out=tuple(_left_out(view, record.served, detail.offered, earlier, detail.unsuited))
        if view is not None
        else (),
    )


def _load(figures: Figures, age: float) -> LoadReceipt:
    if not figures.known:
        return LoadReceipt(in_flight=figures.in_flight)
    return LoadReceipt(
        in_flight=figures.in_flight,
        running=figures.running,
        waiting=figures.waiting,
        kv_usage=figures.kv_usage,
        age=age,
    )


def _left_out(
    view: FleetView, served: Served | None, offered: frozenset[str], earlier: Sequence[Try], unsuited: Mapping[str, str]
) -> Iterable[LeftOut]:
    """Yield the workers that were not offered, up to a bound, with the reason."""
    groups = [{slot.id for slot in group} for group in view.groups(served)]
    tried = {one.worker for one in earlier if one.pool == view.pool}
    roles = roles_of(view.pool, view.settings)
    listed = 0
    for worker in view.table.workers.values():
        if worker.id in offered:
            continue
        if listed == MAX_LISTED:
            return
        listed += 1
        reason = unsuited.get(worker.id) or _reason(worker, groups, tried, roles, _lack(view, worker, served))
        yield LeftOut(worker=worker.id, reason=reason)


def _lack(view: FleetView, worker: Worker, served: Served | None) -> str:
    """Return what a worker lacks to serve it; empty when that is nothing."""
    if view.may_serve(worker, served):
        return ""
    if isinstance(served, Subset) and view.may_serve(worker, served.model):
        return "has not the labels of the arm"
    return "does not serve the model"


def _reason(worker: Worker, groups: Sequence[set[str]], tried: set[str], roles: Set[Role], lack: str) -> str:
    if worker.id in tried:
        return "was tried before"
    if worker.id in groups[0]:
        return "could not be reached a moment ago, or begins with a small share (slow start)"
    if worker.state != "ready":
        return f"{worker.state}: {worker.reason}" if worker.reason else worker.state
    if worker.role not in roles:
        return f"is a {worker.role} worker"
    if lack:
        return lack
    if worker.breaker is not None:
        return f"its breaker is {worker.breaker.state}: {worker.breaker.reason}"
    if any(worker.id in group for group in groups):
        if worker.role == "prefill" and "decode" in roles:
            return "is a prefill worker: those do whole requests last"
        return "is behind others by its priority or weight"
    return "this plane's own breaker for it was open"
