"""`scripts/bench policies`: policies over simulated engines with prefix caches, in virtual time, on a trace."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchlib.policy_cost import measure
from benchlib.policy_cost import render as render_costs
from benchlib.policy_peers import Oracle, PeerCacheAware, PeerConsistentHash
from benchlib.policy_plot import plot
from controlplane.sim.config import SimConfig
from dataplane.policies import PlaneView, Policy, policy_class, policy_names
from tests.simulation.fleet import Arrival, Simulation
from tests.simulation.trace import BLOCK, read_trace

TRACE = Path(__file__).parents[2] / "tests" / "data" / "mooncake_conversation.jsonl.gz"
MANY = 1000
PEERS: dict[str, type[Policy]] = {kind.name: kind for kind in (Oracle, PeerCacheAware, PeerConsistentHash)}


@dataclass(frozen=True)
class Row:
    """One run. Times in seconds; `busiest` is requests of the busiest worker by the mean."""

    policy: str
    planes: int
    hit_rate: float
    ttft_p50: float
    ttft_p99: float
    busiest: float


def evaluate(
    make: Callable[[PlaneView], Policy], name: str, trace: Sequence[Arrival], configs: Sequence[SimConfig], planes: int
) -> Row:
    """Serve the trace."""
    served = Simulation(configs, make, planes=planes).run(trace)
    waits = sorted(one.first_token - one.at for one in served)
    counts = Counter(one.worker for one in served)
    return Row(
        name,
        planes,
        sum(one.cached for one in served) / sum(one.prompt for one in served),
        waits[len(waits) // 2],
        waits[len(waits) * 99 // 100],
        max(counts.values()) * len(configs) / len(served),
    )


def render(rows: Sequence[Row]) -> str:
    """Return the table for documents."""
    lines = ["| policy | planes | hit rate | TTFT p50 | TTFT p99 | busiest / mean |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.policy} | {row.planes} | {row.hit_rate:.1%} | {row.ttft_p50:.2f} s | {row.ttft_p99:.1f} s | "
        f"{row.busiest:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run all policies; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/bench policies", description=__doc__)
    add = parser.add_argument
    add("--trace", type=Path, default=TRACE, help="in Mooncake's format, JSON lines in gzip")
    add("--requests", type=int, default=2000, help="of the trace's beginning (default 2000)")
    add("--speed", type=float, default=3.0, help="by which times between requests are compressed (default 3)")
    add("--workers", type=int, default=8, help="simulated workers (default 8)")
    add("--cache-tokens", type=int, default=2_048_000, help="KV cache of each worker (default 2048000)")
    add("--planes", default="1,2,4", help="numbers of planes, for routerctl's policies (default 1,2,4)")
    add("--policies", default=",".join((*PEERS, *policy_names())), help="names (default: all)")
    add("--json", type=Path, metavar="FILE", help="write all figures there too")
    add("--plot", type=Path, metavar="FILE", help="draw hit rates and TTFT p99 there too, as SVG")
    add("--cost", action="store_true", help="measure what a choice costs instead, among 1,000 workers")
    options = parser.parse_args(arguments)
    if options.cost:
        wanted = [name for name in options.policies.split(",") if name not in PEERS]
        print(render_costs(measure(wanted, MANY)))
        return 0
    trace = list(read_trace(options.trace, speed=options.speed, most=options.requests))
    longest = max(len(one.tokens) + one.answer for one in trace)
    blocks = max(options.cache_tokens, longest) // BLOCK + 1
    config = SimConfig(block_size=BLOCK, num_blocks=blocks, max_model_len=longest)
    rows = []
    for name in options.policies.split(","):
        kind = PEERS.get(name) or policy_class(name)
        # vllm-router is one process, and an oracle knows all planes.
        for planes in (1,) if name in PEERS else map(int, options.planes.split(",")):
            began = time.monotonic()
            rows.append(evaluate(kind, name, trace, [config] * options.workers, planes))
            print(f"{rows[-1]} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
    print(render(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if options.plot:
        options.plot.write_text(plot(rows))
    return 0
