"""Command line of `scripts/bench`."""

import argparse
import dataclasses
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchlib import control_plane, memory, scenarios, startup, targets
from benchlib.load import Upstream
from benchlib.processes import BenchError, Processes
from benchlib.report import Report, compare, figures
from benchlib.scenarios import PEER, Settings
from benchlib.seeing import SIGHTS
from benchlib.session import run_fleet
from benchlib.switched import run_switched
from benchlib.table import render


def _names(known: tuple[str, ...], what: str) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise argparse.ArgumentTypeError(f"unknown {what} {', '.join(unknown)!r}; known: {', '.join(known)}")
        return names

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures routerctl, vllm-router and nginx in turn on 127.0.0.1 and compares them.",
        epilog="`scripts/bench policies` evaluates policies on a recorded trace (`policies --help`), "
        "`scripts/bench discovery` measures workers that register. "
        "Exit status: 0 measured, 1 could not be measured or requests failed, 2 wrong usage.",
    )
    add = parser.add_argument
    add(
        "--scenario",
        type=_names(scenarios.NAMES, "scenario"),
        default=scenarios.NAMES,
        metavar="NAME,...",
        help=f"of {', '.join(scenarios.NAMES)} (default: all)",
    )
    add(
        "--targets",
        type=_names(targets.NAMES, "target"),
        metavar="NAME,...",
        help=f"of {', '.join(targets.NAMES)} (default: all; nginx only if it is on PATH)",
    )
    add("--rounds", type=int, help="rounds per load and router (default 5)")
    add("--seconds", type=float, help="length of a round of one router (default 3)")
    add("--connections", type=int, default=64, help="client connections, and concurrent streams (default 64)")
    add("--workers", type=int, default=4, help="fake workers (default 4)")
    add("--many-workers", type=int, default=1000, help="workers of scenario `workers` (default 1000)")
    add("--rate", type=float, default=1000.0, help="requests per second of scenario `rate` (default 1000)")
    add("--chunks", type=int, default=200, help="SSE events per stream (default 200)")
    add("--pace-ms", type=float, default=10.0, help="time between events of a paced stream (default 10)")
    add(
        "--sights",
        type=_names(tuple(SIGHTS), "sight"),
        default=tuple(SIGHTS),
        metavar="NAME,...",
        help=f"of {', '.join(SIGHTS)}, for scenario `seeing` (default: all); the first is what others are held against",
    )
    add("--log-files", action="store_true", help="the router of scenario `seeing` writes its lines to files too")
    add("--quick", action="store_true", help="2 rounds of 1 s: shows that it works, not who is faster")
    add("--json", type=Path, metavar="FILE", help="write all figures and samples there too")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    if options.targets is None:
        chosen = tuple(name for name in targets.NAMES if targets.usable(name))
    else:
        chosen = options.targets
        missing = [name for name in chosen if not targets.usable(name)]
        if missing:
            raise BenchError(f"not installed here: {', '.join(missing)}")
    return Settings(
        targets=chosen,
        rounds=options.rounds or (2 if options.quick else 5),
        seconds=options.seconds or (1.0 if options.quick else 3.0),
        connections=options.connections,
        workers=options.workers,
        many_workers=options.many_workers,
        rate=options.rate,
        chunks=options.chunks,
        pace_ms=options.pace_ms,
        startups=2 if options.quick else 5,
        changes=20 if options.quick else 200,
        reloads=50 if options.quick else 1000,
        sights=options.sights,
        log_files=options.log_files,
    )


def _measure(chosen: tuple[str, ...], settings: Settings) -> Report:
    report = Report(
        settings=dataclasses.asdict(settings),
        machine={"cpus": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()},
    )
    most = settings.many_workers if {"workers", "control-plane"} & set(chosen) else settings.workers
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Processes() as processes:
        upstream = Upstream(processes, most)
        directory = Path(folder)
        for fleet in scenarios.fleets(chosen, settings):
            samples = run_fleet(processes, upstream, fleet, settings.rounds, directory)
            report.samples.extend(samples)
            report.figures.extend(figures(fleet, samples))
        if "seeing" in chosen and "routerctl" in settings.targets:
            fleet = scenarios.seeing(settings)
            samples = run_switched(processes, upstream, fleet, settings, directory)
            report.samples.extend(samples)
            report.figures.extend(figures(fleet, samples))
        if "startup" in chosen:
            seconds = startup.measure(
                processes, upstream, settings.targets, settings.workers, settings.startups, directory
            )
            values = {name: {"startup_s": taken} for name, taken in seconds.items()}
            against = {name: (PEER,) for name in values if name != PEER and PEER in values}
            report.figures.extend(compare("startup", "startup", values, against))
        if "memory" in chosen:
            report.memory.extend(memory.measure(processes, upstream, settings, directory))
        if "control-plane" in chosen and "routerctl" in settings.targets:
            report.control_plane.extend(control_plane.measure(processes, upstream, settings, directory))
    return report


def main() -> int:
    """Measure, print, and return the exit status."""
    if sys.argv[1:2] == ["policies"]:
        # Only for it: nothing else here needs the simulation.
        from benchlib import policies

        return policies.main(sys.argv[2:])
    if sys.argv[1:2] == ["admission"]:
        from benchlib import admission

        return admission.main(sys.argv[2:])
    if sys.argv[1:2] == ["discovery"]:
        from benchlib import discovery

        return discovery.main(sys.argv[2:])
    options = _parser().parse_args()
    # 1,000 workers are 1,000 sockets, and as many connections, in one process.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        report = _measure(options.scenario, _settings(options))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    print(render(report))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    failed = {f"{s.variant}, {s.load}": s.result.errors for s in report.samples if s.result.errors}
    for where, errors in failed.items():
        print(f"bench: errors: {where}: {errors}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
