"""`scripts/bench admission`: whether limits hold, what overload does, what a tenant that floods does, what it costs.

A router of 1, 2 and 4 planes stands before a worker that counts what comes to it; clients ask as fast as they are
answered. The worker, the clients and this share one event loop, so figures in milliseconds are of a busy machine.
"""

import argparse
import asyncio
import hashlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from benchlib import targets
from benchlib.admission_load import Told, Worker, asking, worker
from benchlib.admission_plot import Bar, plot
from benchlib.processes import Processes
from benchlib.stats import quantile
from benchlib.targets import Running
from dataplane.admission.gate import Gate, Ticket
from dataplane.admission.line import LaneKey
from shared.limits import Limit

_LIMIT = 20
_RATE = 100
_SERVICE = 0.2
_COST_ROUNDS = 200_000


@asynccontextmanager
async def router(workers: Sequence[Worker], planes: int, *extra: str) -> AsyncIterator[Running]:
    """Run a router before these workers."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Processes() as processes:
        addresses = [one.address for one in workers]
        quiet = ("--load-interval-ms=60000", "--health-check-interval-secs=3600", "--no-load-header")
        running = targets.start(processes, "routerctl", addresses, planes, Path(folder) / "router", (*quiet, *extra))
        try:
            # In a thread: the worker has to answer meanwhile.
            await asyncio.to_thread(running.wait_ready)
            yield running
        finally:
            await asyncio.to_thread(running.stop)


def kill_control_plane(running: Running) -> None:
    """End it as a crash would; the supervisor starts another one."""
    for pid in running.pids():
        if running.role(pid) == "control plane":
            os.kill(pid, signal.SIGKILL)


async def granted(planes: int, seconds: float) -> None:
    """Print how much of both limits is used, and how much of each while the control plane is killed."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(worker(10_000, _SERVICE))
        limits = (f"--max-concurrent-requests={_LIMIT}", "--queue-size=1000")
        running = await stack.enter_async_context(router([one], planes, *limits))
        told = Told()
        async with asking(running.port, told, 3 * _LIMIT):
            await asyncio.sleep(3)
            one.begun.clear()
            one.peak = one.open
            sampled = await _mean_open(one, seconds)
            whole = one.peak
            one.peak = one.open
            kill_control_plane(running)
            killed = await _mean_open(one, seconds / 4)
        print(
            f"{planes} planes, {_LIMIT} at a time: {sampled / _LIMIT:.3f} of the limit on average, {whole} at most; "
            f"control plane killed: {killed / _LIMIT:.3f} on average, {one.peak} at most",
            flush=True,
        )
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(worker(10_000, 0.0))
        limits = (f"--rate-limit-tokens-per-second={_RATE}", "--queue-size=1000")
        running = await stack.enter_async_context(router([one], planes, *limits))
        async with asking(running.port, Told(), 3 * _LIMIT):
            await asyncio.sleep(3)
            one.begun.clear()
            await asyncio.sleep(seconds)
            count, begun = len(one.begun), time.monotonic()
            kill_control_plane(running)
            await asyncio.sleep(seconds / 4)
            after = sum(when >= begun for when in one.begun)
        print(
            f"{planes} planes, {_RATE} per second: {count / (_RATE * seconds):.3f} of the limit over {seconds:g} s; "
            f"control plane killed: {after / (_RATE * seconds / 4):.3f} over {seconds / 4:g} s",
            flush=True,
        )


async def _mean_open(one: Worker, seconds: float) -> float:
    samples = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        await asyncio.sleep(0.01)
        samples.append(one.open)
    return sum(samples) / len(samples)


async def overload(seconds: float) -> None:
    """Print what becomes of the goodput, and how quick refusals are, at ten times the capacity."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(worker(_LIMIT, _SERVICE))
        limits = (f"--max-concurrent-requests={_LIMIT}", "--queue-size=20")
        running = await stack.enter_async_context(router([one], 2, *limits))
        told = Told()
        async with asking(running.port, told, _LIMIT + 5):
            await asyncio.sleep(2)
            begin = time.monotonic()
            await asyncio.sleep(seconds / 4)
            peak = len(told.since(begin, time.monotonic(), 200)) / (seconds / 4)
            # So many that ten times as many requests come as can be done.
            async with asking(running.port, told, 180, pause=0.2):
                await asyncio.sleep(1)
                begin = time.monotonic()
                await asyncio.sleep(seconds)
                end = time.monotonic()
            refused = [first for first, _ in told.since(begin, end, 503)]
            good = len(told.since(begin, end, 200)) / seconds
            await asyncio.sleep(5)
            after = [whole for _, whole in told.since(end + 4, end + 5, 200)]
        print(
            f"overload: {(len(refused) / seconds + good) / peak:.1f} times the capacity for {seconds:g} s: goodput "
            f"{good / peak:.3f} of {peak:.0f}/s, {len(refused)} refused, p50 {quantile(refused, 0.5) * 1e3:.1f} ms, "
            f"p99 {quantile(refused, 0.99) * 1e3:.1f} ms; 4 s later {len(after) / peak:.2f} of it, "
            f"p99 {quantile(after, 0.99) * 1e3:.0f} ms",
            flush=True,
        )


async def tenants(seconds: float) -> list[Bar]:
    """Print what one tenant waits for its first byte, alone and beside one that asks for ten times its share."""
    bars = []
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(worker(_LIMIT, _SERVICE))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        keys = {name: f"sk-routerctl-{name}{'x' * 40}" for name in ("quiet", "flood")}
        file = folder / "keys.toml"
        file.write_text(
            "".join(
                f'[[keys]]\nname = "{name}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
                for name, key in keys.items()
            )
        )
        file.chmod(0o600)
        limits = (f"--max-concurrent-requests={_LIMIT}", "--queue-size=1000", f"--client-keys-file={file}")
        running = await stack.enter_async_context(router([one], 2, *limits))
        quiet, flood = Told(), Told()
        # Each tenant's share is half of what there is: so many clients use just that.
        async with asking(running.port, quiet, _LIMIT // 2, keys["quiet"]):
            for name, count in (("alone", 0), ("beside 10 x", 10 * _LIMIT // 2)):
                async with asking(running.port, flood, count, keys["flood"]):
                    await asyncio.sleep(3)
                    begin = time.monotonic()
                    await asyncio.sleep(seconds)
                    end = time.monotonic()
                bars.append(_bar(f"quiet, {name}", quiet, begin, end))
                if count:
                    bars.append(_bar("flood", flood, begin, end))
    for bar in bars:
        print(f"tenant {bar.name}: {bar.per_second:.0f}/s, TTFT p50 {bar.p50 * 1e3:.1f}, p99 {bar.p99 * 1e3:.1f} ms")
    print(f"the quiet tenant's TTFT p99 is {bars[1].p99 / bars[0].p99:.2f} times what it is alone", flush=True)
    return bars


def _bar(name: str, told: Told, begin: float, end: float) -> Bar:
    first = [first for first, _ in told.since(begin, end, 200)]
    return Bar(name, len(first) / (end - begin), quantile(first, 0.5), quantile(first, 0.99))


def cost() -> None:
    """Print what it costs to let a request go on and to know of its end, where nothing waits."""
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
            for _ in range(_COST_ROUNDS // 5):
                now += 0.001
                ticket = Ticket(LaneKey(0, "", "m"), 100, now)
                gate.enter(ticket, now)
                gate.leave(ticket, now)
                gate.wake(now)
            best = min(best, (time.process_time() - began) / (_COST_ROUNDS // 5))
        print(f"cost with {len(limits)} limit{'s' * (len(limits) > 1)}: {best * 1e6:.2f} us per request", flush=True)


async def _measure(options: argparse.Namespace) -> None:
    cost()
    for planes in options.planes:
        await granted(planes, options.seconds)
    await overload(options.seconds)
    bars = await tenants(options.seconds)
    if options.plot:
        options.plot.write_text(plot(bars))


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench admission", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each measurement (default 60)")
    parser.add_argument("--planes", type=int, nargs="+", default=[1, 2, 4], help="planes (default 1 2 4)")
    parser.add_argument("--plot", type=Path, help="write the picture of the two tenants there (SVG)")
    try:
        asyncio.run(_measure(parser.parse_args(arguments)))
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return 0
