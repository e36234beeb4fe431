"""What one change costs a plane's loop: decoding it, applying it, checking its hash, compiling the view anew."""

import random
import time

import uvloop

from benchlib.stats import quantile
from controlplane.publication import Publication
from dataplane.accounting import Accounting
from dataplane.fleet import Fleet
from dataplane.subscriber.actions import Adopt, RequestSnapshot
from dataplane.subscriber.machine import Subscriber
from shared.messages import decode_downward, encode
from shared.table import ModelCard, Settings, Worker, WorkerState

_CHANGES = 500


def measure(workers: int, models: int) -> dict[str, float]:
    """Return what a change of one of `workers`, each with one of `models`, takes: p50 and p99 in ms.

    Beside it what the first table takes, and one that is asked for anew.
    """
    return uvloop.run(_measure(workers, models))


async def _measure(count: int, models: int) -> dict[str, float]:
    publication = Publication(1, Settings())
    workers = [_worker(number, models, "ready") for number in range(count)]
    cards = [ModelCard(id=f"model-{number}", card=b"{}") for number in range(models)]
    publication.change(workers, cards, Settings())
    fleet = Fleet(Accounting(), plane_slot=0, plane="bench", rng=random.Random(1))
    machine = Subscriber(rng=random.Random(1))

    def take(frame: bytes) -> float:
        began = time.perf_counter()
        for action in machine.on_message(decode_downward(frame), began):
            if isinstance(action, Adopt):
                fleet.adopt(action.table)
        return time.perf_counter() - began

    machine.on_welcome(0.0)
    first = take(encode(publication.snapshot(1)))
    taken = []
    for number in range(_CHANGES):
        place = number % count
        workers[place] = _worker(place, models, "draining" if workers[place].state == "ready" else "ready")
        update = publication.change(workers, cards, Settings())
        assert update is not None
        taken.append(take(encode(update)))
    # It misses a change, learns so from a heartbeat, and asks within the jitter.
    publication.change(workers[1:], cards, Settings())
    later = time.perf_counter() + 1
    machine.on_message(publication.heartbeat(), later)
    (request,) = (action for action in machine.on_tick(later + 1) if isinstance(action, RequestSnapshot))
    resync = take(encode(publication.snapshot(request.request_id)))
    assert fleet.view.table.stamp == publication.table.stamp
    return {
        "p50_ms": quantile(taken, 0.5) * 1e3,
        "p99_ms": quantile(taken, 0.99) * 1e3,
        "first_table_ms": first * 1e3,
        "resync_ms": resync * 1e3,
    }


def _worker(number: int, models: int, state: WorkerState) -> Worker:
    url = f"http://10.0.{number // 250}.{number % 250}:8000"
    return Worker(id=url, url=url, state=state, models=(f"model-{number % models}",), since=1.0, process_start=1.0)
