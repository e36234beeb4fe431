"""What it costs to let a request go on and to know of its end, where nothing waits."""

import time

from dataplane.admission.gate import Gate
from dataplane.admission.line import LaneKey
from dataplane.admission.ticket import Ticket
from shared.limits import Limit

_ROUNDS = 200_000


def cost() -> None:
    """Print it, for one limit and for two."""
    for limits in ([Limit("total", "slots", 1000)], [Limit("total", "slots", 1000), Limit("rate", "rate", 10**9)]):
        gate = Gate()
        gate.use(limits, 100)
        for quota in gate.quotas.values():
            quota.allow(quota.limit.amount, 0.0)
        gate.is_leased = True
        now = 10.0
        gate.enter(Ticket(LaneKey(0, "", "m"), 100, 0.0), 0.0)
        gate.wake(now)
        best = float("inf")
        for _ in range(5):
            began = time.process_time()
            for _ in range(_ROUNDS // 5):
                now += 0.001
                ticket = Ticket(LaneKey(0, "", "m"), 100, now)
                gate.enter(ticket, now)
                gate.leave(ticket, now)
                gate.wake(now)
            best = min(best, (time.process_time() - began) / (_ROUNDS // 5))
        print(f"cost with {len(limits)} limit{'s' * (len(limits) > 1)}: {best * 1e6:.2f} us per request", flush=True)
