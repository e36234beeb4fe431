"""What limits of very many workers cost: a router's processes with them and without, by turns."""

import time

from benchlib import loop_lag
from benchlib.admission_load import Clients, Shares
from benchlib.admission_rig import Rig
from benchlib.admission_wire import ClientsSpec
from benchlib.stats import quantile

WORKERS = 1000
SERVICE = 0.2
RATE = 300
LIMITS = (0, 16)
_ROUNDS = 2


def workers(rig: Rig, planes: int, seconds: float) -> None:
    """Print what each process uses at a moderate rate and idle, and how long requests take beyond the worker's time."""
    for _ in range(_ROUNDS):
        for limit in LIMITS:
            _with_limit(rig, planes, limit, seconds / _ROUNDS)


def _with_limit(rig: Rig, planes: int, limit: int, seconds: float) -> None:
    flags = (f"--worker-max-concurrent-requests={limit}", "--queue-size=1000", "--policy=round_robin")
    with rig.router(planes, SERVICE, *flags, workers=WORKERS) as (router, worker):
        clients = Clients(rig.processes, ClientsSpec(port=router.port, connections=3 * RATE, rate=RATE))
        own = {"clients": clients.pid, "worker": worker.pid}
        time.sleep(5)
        idle = Shares(router, own)
        time.sleep(seconds / 2)
        idle_text = idle.text()
        clients.start()
        time.sleep(3)
        shares, lag, began = Shares(router, own), loop_lag.buckets(router), time.monotonic()
        time.sleep(seconds)
        text, lag_text = shares.text(), loop_lag.text(lag, loop_lag.buckets(router))
        end = time.monotonic()
        told = clients.stop()
    beyond = [one.whole - SERVICE for one in told.between(began, end, 200)]
    each = f"{limit} at a time each" if limit else "no limits"
    refused = len(told.refused(began, end))
    print(
        f"{planes} planes, {WORKERS} workers, {each}, {RATE} requests per second for {seconds:g} s: {len(beyond)} "
        f"answers, {refused} refused; beyond the worker's time p50 {quantile(beyond, 0.5) * 1e3:.1f} ms, "
        f"p99 {quantile(beyond, 0.99) * 1e3:.1f} ms\n"
        f"  {lag_text}; {text}\n  idle, {idle_text}",
        flush=True,
    )
