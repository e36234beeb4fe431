"""Snapshots of routers, as tests of frames and keys need them."""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.cli.limits_view import AdmissionView, LimitView
from controlplane.cli.pairs_view import OpenPairView, PairView
from controlplane.cli.policies_view import LackView, PolicyView
from controlplane.cli.status_view import BreakerView, ConfigView, ProcessView
from controlplane.condition import condition
from controlplane.top.snapshot import (
    ControlPlane,
    Event,
    Load,
    Plane,
    Seen,
    Snapshot,
    Status,
    Summary,
    Table,
    Times,
    Traffic,
    Worker,
    WorkerTraffic,
)

WHERE = "http://127.0.0.1:30080"
NOON = 1_795_262_400.0


def worker(number: int, *, role: str = "regular", state: str = "ready", **more: object) -> Worker:
    """A worker that is busier the higher its number is."""
    times = Times(p50=0.08 * number, p95=0.21 * number) if number else None
    usual: dict[str, object] = {
        "id": f"http://10.0.0.{number}:8000",
        "load": Load(running=3.0 * number, waiting=float(number // 2), kv_usage=min(1.0, 0.11 * number)),
        "traffic": WorkerTraffic(requests=1.7 * number, failures=0.0, first_byte=times),
        "inflight": 3 * number,
        "models": ("llama-70b",),
        "age": 3723.0,
    }
    return Worker(role=role, state=state, **{**usual, **more})  # type: ignore[arg-type]


def snapshot(*workers: Worker, planes: int = 2, traffic: bool = True) -> Snapshot:
    """What a router with these workers tells."""
    states = [condition(one.state, one.breaker.state, is_drained=one.drained) for one in workers]
    return Snapshot(
        time=NOON,
        summary=Summary(
            workers={state: states.count(state) for state in dict.fromkeys(states)},
            broken=sum(one.breaker.state != "closed" for one in workers),
            planes=planes,
            data_planes=2,
            active=57,
            traffic=Traffic(
                requests=123.4,
                failures=0.2,
                prompt_tokens=48_200.0,
                output_tokens=5600.0,
                duration=Times(p50=1.31, p95=4.2),
                first_token=Times(p50=0.081, p95=0.21),
            )
            if traffic
            else None,
        ),
        status=Status(
            # It was replaced a minute ago.
            control_plane=ControlPlane(version="0.1.0", age=60.0, table=Table(version=17)),
            supervisor=ProcessView(state="running", age=7384.0),
            planes=[
                Plane(
                    slot=slot,
                    state="serving",
                    version="0.1.0",
                    table=Table(version=17),
                    table_age=0.2,
                    request_rate=61.7,
                )
                for slot in range(planes)
            ],
            workers=workers,
        ),
        events=[
            Event(time=NOON - 300, level="info", text="worker http://10.0.0.1:8000 is ready (was starting)"),
            Event(time=NOON - 60, level="warning", text="breaker of worker http://10.0.0.4:8000 is open: 10 failed"),
            Event(time=NOON - 30, level="info", text="worker http://10.0.0.5:8000 is draining (was ready)"),
        ],
    )


OPEN = BreakerView(state="open", reason="10 of 12 requests failed: no connection", age=60.0)


def fleet() -> Snapshot:
    """Two prefill and four decode workers, of which one is broken and one drains."""
    return snapshot(
        worker(1, role="prefill"),
        worker(2, role="prefill"),
        worker(3, role="decode"),
        worker(4, role="decode", breaker=OPEN, traffic=WorkerTraffic(requests=0.3, failures=0.3)),
        worker(5, role="decode", state="draining", reason="drained by an operator"),
        worker(6, role="decode", capacity=48.0),
    )


def troubled() -> Snapshot:
    """A fleet that looks well by its workers' states, and is not."""
    of = fleet()
    workers = [worker(1, role="prefill", reason="its last check: no answer within 5 s"), *of.status.workers[1:]]
    pair = OpenPairView(prefill="http://10.0.0.1:8000", decode="http://10.0.0.3:8000", planes=2, seconds=4.0)
    lack = LackView(outcome="o", sentence="s", count=3)
    status = replace(
        of.status,
        workers=workers,
        supervisor=None,
        failing={"over_capacity": 243.2, "queue_timeout": 0.1},
        pairs=PairView(open=[pair], opened=1),
        config=ConfigView(file="/etc/r.toml", state="refused", problems=["/etc/r.toml:7: queue_size is 'big'", "x"]),
        policies=[PolicyView(pool="plain", model=None, policy="p", lacks=[lack])],
    )
    return replace(of, status=status)


def limited() -> Snapshot:
    """A fleet at its limit."""
    of = fleet()
    limits = [
        LimitView(name="total", kind="slots", amount=64.0, in_use=64.0, wanted={"alice": 60.0, "bob": 16.0}),
        LimitView(name="model:llama-70b", kind="slots", amount=100.0, in_use=57.0, wanted={"alice": 41.0, "bob": 16.0}),
        LimitView(name="rate", kind="rate", amount=200.0),
    ]
    return replace(of, status=replace(of.status, admission=AdmissionView(limits=limits, waiting=12)))


def large(count: int = 500) -> Snapshot:
    """As many workers as a large fleet has."""
    return snapshot(*(worker(number) for number in range(count)))


def seen(of: Snapshot | None, **more: object) -> Seen:
    """What is known now."""
    return Seen(where=WHERE, snapshot=of, **more)  # type: ignore[arg-type]
