"""What becomes of goodput and of refusals at ten times the capacity, and whether `Retry-After` is good advice."""

import time
from math import inf

from benchlib import loop_lag
from benchlib.admission_load import Clients, Shares
from benchlib.admission_rig import Rig
from benchlib.admission_wire import ClientsSpec, Told
from benchlib.stats import quantile

LIMIT = 20
SERVICE = 0.1
CAPACITY = LIMIT / SERVICE
_TIMES = 10
_LIMITS = (f"--max-concurrent-requests={LIMIT}", "--queue-size=20")
# Enough that one is free when a request is due: 40 requests are open, and refusals take milliseconds.
_CONNECTIONS = 300


def overload(rig: Rig, planes: int, seconds: float) -> None:
    """Print goodput before, at and after ten times the capacity, the refusals' times, and who used the machine.

    Some clients ask all the time, as many as use all of the limit; what they get alone is the peak. For the overload
    others come to them, at a rate that does not mind what it is told.
    """
    with rig.router(planes, SERVICE, *_LIMITS) as (router, worker):
        usual = Clients(rig.processes, ClientsSpec(port=router.port, connections=LIMIT + 8))
        crowd = Clients(rig.processes, ClientsSpec(port=router.port, connections=_CONNECTIONS, rate=_TIMES * CAPACITY))
        own = {"clients": crowd.pid, "usual clients": usual.pid, "worker": worker.pid}
        usual.start()
        time.sleep(3)
        worker.seen()
        alone = _span(seconds / 4)
        idle_before = LIMIT - worker.seen().mean
        crowd.start()
        time.sleep(1)
        shares = Shares(router, own)
        lag = loop_lag.buckets(router)
        worker.seen()
        crowded = _span(seconds)
        seen = worker.seen()
        text = f"{loop_lag.text(lag, loop_lag.buckets(router))}; {shares.text()}"
        end = time.monotonic()
        told = [crowd.stop()]
        after = _span(6)
        told.append(usual.stop())
        peak = _per_second(told, *alone)
    good = _per_second(told, *crowded)
    refused = [one for each in told for one in each.refused(*crowded)]
    waited = [one.whole for each in told for one in each.between(*crowded, 200)]
    late = [one.late for one in refused]
    came = (len(refused) + len(waited)) / (crowded[1] - crowded[0]) / CAPACITY
    later = [f"{_per_second(told, end + second, end + second + 1) / peak:.2f}" for second in range(6)]
    normal = [one.whole for one in told[-1].between(after[0] + 4, after[1], 200)]
    print(
        f"{planes} planes, {came:.1f} times the capacity for {seconds:g} s: goodput {good / peak:.3f} of the peak "
        f"({peak:.0f}/s); idle places {LIMIT - seen.mean:.2f} of {LIMIT} (before: {idle_before:.2f}), {seen.peak} at "
        f"most; {len(refused)} refused: {_times([one.first for one in refused])} (the "
        f"clients themselves were late by p99 {quantile(late, 0.99) * 1e3:.1f} ms); admitted: {_times(waited)}\n"
        f"  each second after: {' '.join(later)} of the peak; 4 s later {_times(normal)}\n"
        f"  {text}; connections that broke: {sum(each.lost for each in told)}",
        flush=True,
    )


def retry_after(rig: Rig, planes: int, seconds: float) -> None:
    """Print how those fare that do as they are told, where ten times as many come in a second as there is room for."""
    with rig.router(planes, SERVICE, *_LIMITS) as (router, worker):
        # The pace of the last seconds is what the router goes by.
        usual = Clients(rig.processes, ClientsSpec(port=router.port, connections=LIMIT))
        usual.start()
        time.sleep(3)
        spec = ClientsSpec(port=router.port, connections=int(_TIMES * CAPACITY), once_within=1.0)
        clients = Clients(rig.processes, spec)
        usual.stop()
        worker.seen()
        begin = time.monotonic()
        clients.start()
        time.sleep(seconds)
        seen = worker.seen()
        told = clients.stop()
    admitted, refused = told.between(begin, inf, 200), told.refused(begin, inf)
    tries = [float(one.tries) for one in admitted]
    again = [one.status == 200 for one in (*admitted, *refused) if one.tries]
    print(
        f"{planes} planes, {spec.connections} clients that come within a second and obey Retry-After: {len(admitted)} "
        f"answered within {max((one.when for one in admitted), default=begin) - begin:.1f} s (at best "
        f"{_TIMES:g} s), after {quantile(tries, 0.5):.0f} refusals (p50; p99 {quantile(tries, 0.99):.0f}); "
        f"{sum(again) / max(1, len(again)):.2f} of those that came back were let in, "
        f"{(len(admitted) + len(refused)) / max(1, len(admitted)):.1f} requests for each answer; {seen.peak} open at "
        f"most; told at most {max((one.retry_after for one in refused), default=0):g} s",
        flush=True,
    )


def _span(seconds: float) -> tuple[float, float]:
    begin = time.monotonic()
    time.sleep(seconds)
    return begin, time.monotonic()


def _per_second(told: list[Told], begin: float, end: float) -> float:
    return sum(len(each.between(begin, end, 200)) for each in told) / (end - begin)


def _times(seconds: list[float]) -> str:
    p50, p99, most = (quantile(seconds, share) * 1e3 for share in (0.5, 0.99, 1.0))
    return f"p50 {p50:.1f}, p99 {p99:.1f}, at most {most:.0f} ms"
