"""What is measured: the fleets and loads of each scenario."""

from dataclasses import dataclass

import msgspec

from benchlib.seeing import SIGHTS
from benchlib.session import Fleet, Variant
from benchlib.wire import LoadSpec

NAMES = (
    "small",
    "stream",
    "streams",
    "rate",
    "workers",
    "planes",
    "prefill-decode",
    "cut-link",
    "seeing",
    "startup",
    "memory",
    "control-plane",
)
PEER = "vllm-router"


@dataclass(frozen=True)
class Settings:
    """The options of a run; times in seconds, `rate` in requests per second, `pace_ms` per chunk."""

    targets: tuple[str, ...]
    rounds: int = 5
    seconds: float = 3.0
    connections: int = 64
    workers: int = 4
    many_workers: int = 1000
    rate: float = 1000.0
    chunks: int = 200
    pace_ms: float = 10.0
    startups: int = 5
    changes: int = 200
    reloads: int = 1000
    sights: tuple[str, ...] = tuple(SIGHTS)
    log_files: bool = False


def fleets(names: tuple[str, ...], settings: Settings) -> list[Fleet]:
    """Return the fleets that the scenarios of load need. Those on the same routers share one."""
    found = []
    if loads := _plain_loads(names, settings):
        variants = tuple(
            Variant(name, name, settings.workers, against=_against(name, settings)) for name in settings.targets
        )
        found.append(Fleet("load", variants, loads))
    if "workers" in names:
        found.append(_workers(settings))
    if "planes" in names and "routerctl" in settings.targets:
        variants = tuple(
            Variant(f"{planes} plane{'s'[: planes - 1]}", "routerctl", settings.workers, planes, against)
            for planes, against in ((1, ()), (2, ("1 plane",)))
        )
        # At the same rate the same work is done; as fast as it goes two planes also do more, on the same cores.
        found.append(Fleet("planes", variants, {"rate": _rate(settings), "small": small(settings)}))
    if "prefill-decode" in names and "routerctl" in settings.targets:
        # Two workers do each request: twice the cost of one is what it is to be held against.
        variants = (
            Variant("one worker", "routerctl", settings.workers),
            *(
                Variant(f"two by {name}", "routerctl", settings.workers, against=("one worker",), connector=name)
                for name in ("nixl", "example")
            ),
        )
        found.append(Fleet("prefill-decode", variants, {"small": small(settings)}))
    if "cut-link" in names and "routerctl" in settings.targets:
        # What a cut link between two workers costs the requests of all; but for a few they are those of other pairs.
        variants = (
            Variant("all links", "routerctl", 4, connector="nixl"),
            Variant("one cut", "routerctl", 4, against=("all links",), connector="nixl", has_cut_link=True),
        )
        found.append(Fleet("cut-link", variants, {"rate": _rate(settings)}))
    return found


def seeing(settings: Settings) -> Fleet:
    """Return the fleet whose variants are what one router shows of itself; streams follow each other."""
    first = settings.sights[0]
    variants = tuple(
        Variant(name, "routerctl", settings.workers, against=(first,) if name != first else ())
        for name in settings.sights
    )
    return Fleet("seeing", variants, {"small": small(settings), **_streams(settings)})


def small(settings: Settings) -> LoadSpec:
    """Return the load of small chat answers: the cost of a request."""
    return LoadSpec(connections=settings.connections, seconds=settings.seconds)


def _plain_loads(names: tuple[str, ...], settings: Settings) -> dict[str, LoadSpec]:
    loads = {}
    if "small" in names or "stream" in names or "streams" in names:
        # Streams need it too: the share of the request in the cost of its chunks is taken off.
        loads["small"] = small(settings)
    if "stream" in names:
        loads |= _streams(settings)
    if "streams" in names:
        # 1,000 at 50 chunks a second each: whoever falls behind needs longer than the 4 s that one stream lasts.
        loads["1000 streams"] = LoadSpec(connections=1000, seconds=10.0, requests=1000, chunks=200, pace_ms=20.0)
    if "rate" in names:
        loads["rate"] = _rate(settings)
    return loads


def _streams(settings: Settings) -> dict[str, LoadSpec]:
    one_stream = settings.chunks * settings.pace_ms / 1e3
    streams = settings.connections * max(1, round(settings.seconds / one_stream))
    return {
        "stream": LoadSpec(connections=settings.connections, seconds=settings.seconds, chunks=settings.chunks),
        "stream paced": LoadSpec(
            connections=settings.connections,
            seconds=settings.seconds,
            requests=streams,
            chunks=settings.chunks,
            pace_ms=settings.pace_ms,
        ),
    }


def _rate(settings: Settings) -> LoadSpec:
    return LoadSpec(mode="open", connections=settings.connections, seconds=settings.seconds, rate=settings.rate)


def _workers(settings: Settings) -> Fleet:
    few, many = settings.workers, settings.many_workers
    variants = []
    for count in (few, many):
        for name in settings.targets:
            against = tuple(f"{other} {count}" for other in _against(name, settings))
            if count == many:
                against = (f"{name} {few}", *against)
            variants.append(Variant(f"{name} {count}", name, count, against=against))
    # The warm-up must reach every worker, else the round would measure the connecting to them.
    load = msgspec.structs.replace(small(settings), warmup_seconds=1.0)
    return Fleet("workers", tuple(variants), {"small": load})


def _against(name: str, settings: Settings) -> tuple[str, ...]:
    return (PEER,) if name != PEER and PEER in settings.targets else ()
