"""A fleet of routers that run side by side and are measured in turn."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchlib import targets
from benchlib.load import Upstream, run_load
from benchlib.processes import Processes
from benchlib.targets import Running
from benchlib.wire import LoadResult, LoadSpec


@dataclass(frozen=True)
class Variant:
    """One router as it is configured for a scenario; `against` names what it is compared with.

    With a `connector`, half of its workers prefill and the others decode; with `has_cut_link` they are four, and one
    of the pairs hands nothing over.
    """

    label: str
    target: str
    workers: int
    planes: int = 1
    against: tuple[str, ...] = ()
    connector: str = ""
    has_cut_link: bool = False


@dataclass(frozen=True)
class Fleet:
    """The variants that are compared with each other, and the loads that each of them gets."""

    name: str
    variants: tuple[Variant, ...]
    loads: dict[str, LoadSpec]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one variant in one round. `cpu_seconds` is of the router: role -> seconds."""

    fleet: str
    load: str
    variant: str
    round: int
    cpu_seconds: dict[str, float]
    result: LoadResult

    @property
    def cpu_total(self) -> float:
        return sum(self.cpu_seconds.values())


def run_fleet(processes: Processes, upstream: Upstream, fleet: Fleet, rounds: int, directory: Path) -> list[Sample]:
    """Start all variants, measure them in turn, end them."""
    running: dict[Variant, Running] = {}
    samples = []
    with ExitStack() as stack:
        for number, variant in enumerate(fleet.variants):
            say(f"{fleet.name}: starting {variant.label}")
            running[variant] = _start(processes, upstream, variant, directory / f"{fleet.name}-{number}")
            stack.callback(running[variant].stop)
        for router in running.values():
            router.wait_ready()
        for number in range(rounds):
            # The same load on all variants within seconds: what disturbs one then disturbs all.
            # Who comes first alternates, as a machine that warms up or fills up favours one of them.
            order = list(running.items())[:: -1 if number % 2 else 1]
            for load, spec in fleet.loads.items():
                for variant, router in order:
                    say(f"{fleet.name}: round {number + 1} of {rounds}, {load}, {variant.label}")
                    result, before, after = run_load(
                        processes, msgspec.structs.replace(spec, port=router.port), router.cpu
                    )
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


def by_role(router: Running, before: dict[int, float], after: dict[int, float]) -> dict[str, float]:
    """Return role -> CPU seconds used between two readings of `router.cpu`."""
    used: dict[str, float] = {}
    for pid, seconds in after.items():
        role = router.role(pid)
        used[role] = used.get(role, 0.0) + seconds - before.get(pid, 0.0)
    return used


def say(text: str) -> None:
    """Tell of the progress."""
    print(text, file=sys.stderr, flush=True)


def _start(processes: Processes, upstream: Upstream, variant: Variant, folder: Path) -> Running:
    addresses = upstream.addresses(variant.workers, has_cut_link=variant.has_cut_link)
    extra: tuple[str, ...] = ()
    if variant.connector:
        extra, addresses = _halves(variant.connector, addresses), []
    return targets.start(processes, variant.target, addresses, variant.planes, folder, extra)


def _halves(connector: str, addresses: list[str]) -> tuple[str, ...]:
    urls = [f"http://{address}" for address in addresses]
    half = len(urls) // 2
    return (f"--kv-connector={connector}", "--prefill", *urls[:half], "--decode", *urls[half:])
