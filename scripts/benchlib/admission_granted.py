"""How much of a limit is used, and whether ever more than that: in peace, and while processes are killed."""

import time
from collections.abc import Sequence

from benchlib.admission_load import Shares, asking
from benchlib.admission_rig import Rig, kill
from benchlib.admission_wire import ClientsSpec

LIMIT = 20
SERVICE = 0.2
RATE = 100


def granted(rig: Rig, planes: int, seconds: float) -> None:
    """Print how much of both limits is used, and how much of each while the control plane is killed."""
    slots = (f"--max-concurrent-requests={LIMIT}", "--queue-size=1000")
    with rig.router(planes, SERVICE, *slots) as (router, worker):
        spec = ClientsSpec(port=router.port, connections=3 * LIMIT)
        with asking(rig.processes, spec) as clients:
            shares = Shares(router, {"clients": clients.pid, "worker": worker.pid})
            worker.seen()
            time.sleep(seconds)
            whole = worker.seen()
            text = shares.text()
            kill(router, "control plane")
            time.sleep(seconds / 4)
            killed = worker.seen()
        print(
            f"{planes} planes, {LIMIT} at a time: {whole.mean / LIMIT:.3f} of the limit on average over {seconds:g} s, "
            f"{whole.peak} at most; control plane killed: {killed.mean / LIMIT:.3f} over {seconds / 4:g} s, "
            f"{killed.peak} at most; {text}",
            flush=True,
        )
    rate = (f"--rate-limit-tokens-per-second={RATE}", "--queue-size=1000")
    with rig.router(planes, 0.0, *rate) as (router, worker):
        with asking(rig.processes, ClientsSpec(port=router.port, connections=3 * LIMIT)):
            worker.seen()
            time.sleep(seconds)
            whole = worker.seen()
            kill(router, "control plane")
            time.sleep(seconds / 4)
            killed = worker.seen()
        both = [*whole.begun, *killed.begun]
        second, five = (most_within(both, stretch) / (stretch * RATE) for stretch in (1.0, 5.0))
        print(
            f"{planes} planes, {RATE} per second: {whole.per_second / RATE:.3f} of the limit over {seconds:g} s; "
            f"control plane killed: {killed.per_second / RATE:.3f} over {seconds / 4:g} s; in any one second "
            f"{second:.2f}, in any five {five:.3f}",
            flush=True,
        )


def killed_plane(rig: Rig, planes: int, seconds: float) -> None:
    """Print what becomes of the limit when a plane is killed: never more of it, and when all of it is used again."""
    if planes < 2:
        return
    slots = (f"--max-concurrent-requests={LIMIT}", "--queue-size=1000")
    with rig.router(planes, SERVICE, *slots) as (router, worker):
        with asking(rig.processes, ClientsSpec(port=router.port, connections=6 * LIMIT)):
            worker.seen()
            kill(router, "plane 0")
            steps = []
            for _ in range(int(min(seconds, 10.0) / 0.1)):
                time.sleep(0.1)
                steps.append(worker.seen())
        peak = max(step.peak for step in steps)
        back = next((number for number, step in enumerate(steps) if step.mean >= 0.95 * LIMIT), None)
        least = min(step.mean for step in steps)
        again = "not again" if back is None else f"again after {(back + 1) * 0.1:.1f} s"
        print(
            f"{planes} planes, one killed: {peak} of {LIMIT} at most, {least / LIMIT:.2f} at least (means of 0.1 s); "
            f"0.95 of the limit {again}",
            flush=True,
        )


def most_within(moments: Sequence[float], seconds: float) -> int:
    """Return how many of the moments, which are in order, lie within any stretch of so many seconds at most."""
    most = first = 0
    for number, moment in enumerate(moments):
        while moment - moments[first] >= seconds:
            first += 1
        most = max(most, number - first + 1)
    return most
