"""One router that shows now this and now that of itself, while one load lasts.

Two routers of the same settings differ by a tenth, by where their memory and their processes happen to be, and so do
two loads of one router, by what the machine's other users do meanwhile. What is asked here is about a twentieth.
"""

import time
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchlib import seeing, targets
from benchlib.load import Upstream, held_load
from benchlib.processes import Processes
from benchlib.scenarios import Settings
from benchlib.session import Fleet, Sample, by_role, say

_SETTLE = 0.5
"""Seconds after a reload: what requests left to be written and told is out of the way."""
_MOST = 60.0
"""Seconds that a turn may take beyond its own."""


def run_switched(
    processes: Processes, upstream: Upstream, fleet: Fleet, settings: Settings, directory: Path
) -> list[Sample]:
    """Measure the sights that the fleet's variants are named by, in turn; the first variant is the router."""
    rounds = settings.rounds
    samples = []
    first = fleet.variants[0]
    folder = directory / fleet.name
    with ExitStack() as stack:
        collector = stack.enter_context(seeing.collector())
        say(f"{fleet.name}: starting {first.target}")
        addresses = upstream.addresses(first.workers)
        router = targets.start(
            processes, first.target, addresses, first.planes, folder, seeing.flags(folder, log_files=settings.log_files)
        )
        stack.callback(router.stop)
        router.wait_ready()
        for load, spec in fleet.loads.items():
            bound = rounds * len(fleet.variants) * (spec.seconds + _MOST)
            with held_load(processes, msgspec.structs.replace(spec, port=router.port), bound) as cut:
                for number in range(rounds):
                    say(f"{fleet.name}: round {number + 1} of {rounds}, {load}")
                    for variant in fleet.variants[:: -1 if number % 2 else 1]:
                        with seeing.seen(router, seeing.SIGHTS[variant.label], collector):
                            time.sleep(_SETTLE)
                            cut()
                            before = router.cpu()
                            time.sleep(spec.seconds)
                            result = cut()
                            after = router.cpu()
                        samples.append(
                            Sample(
                                fleet=fleet.name,
                                load=load,
                                variant=variant.label,
                                round=number,
                                cpu_seconds=by_role(router, before, after),
                                result=result,
                            )
                        )
    return samples
