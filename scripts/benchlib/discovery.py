"""`scripts/bench discovery`: what it costs that a fleet pings, and how soon a worker gets requests, or none.

The fleet registers as P2pNccl does. Then it pings, and then it does not: healthy workers stay, so the difference
in CPU is the pings'. Memory is compared before and after a flood of connections, forged messages and new identities.
"""

import argparse
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import mean

import msgspec
import zmq

from benchlib import net, procfs, targets
from benchlib.load import Upstream
from benchlib.processes import BenchError, Processes
from benchlib.stats import quantile
from benchlib.targets import Running
from shared.registration import Goodbye, Hello, encode_registration

_PING = 3.0
"""Seconds between the pings of one worker, as vLLM's."""
_QUIET = (
    "--load-interval-ms=60000",
    "--health-check-interval-secs=3600",
    "--shutdown-grace-secs=1",
)
_JOINS = 20
_SETTLE = 60.0
_FLOOD_SECONDS = 10.0
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
_READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


class _Worker(msgspec.Struct):
    url: str
    is_healthy: bool


class _Workers(msgspec.Struct):
    workers: list[_Worker]


class Fleet:
    """Workers' sides of the discovery port: a DEALER each, from the worker's own address."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", port: int, workers: list[str]) -> None:
        self._port = port
        self._sockets = {worker: self._connect(context, worker) for worker in workers}

    def _connect(self, context: "zmq.Context[zmq.Socket[bytes]]", worker: str) -> "zmq.Socket[bytes]":
        one = context.socket(zmq.DEALER)
        one.setsockopt(zmq.LINGER, 0)
        one.setsockopt_string(zmq.IDENTITY, worker)
        one.connect(f"tcp://{worker.partition(':')[0]}:0;127.0.0.1:{self._port}")
        return one

    def ping(self, worker: str) -> None:
        """Send a ping for one."""
        told = {"type": "P", "http_address": worker, "zmq_address": worker}
        self._sockets[worker].send(msgspec.msgpack.encode(told))

    @contextmanager
    def pinging(self) -> Iterator[None]:
        """Ping for all, evenly over the time between two of each."""
        ended = threading.Event()
        thread = threading.Thread(target=self._ping_all, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _ping_all(self, ended: threading.Event) -> None:
        due = time.monotonic()
        while True:
            for worker in self._sockets:
                due += _PING / len(self._sockets)
                self.ping(worker)
                if ended.wait(max(0.0, due - time.monotonic())):
                    return


def healthy(router: Running) -> set[str]:
    """Return the addresses of the workers that the plane may send requests to."""
    status, body = net.get(router.port, "/workers")
    if status != 200:
        return set()
    told = msgspec.json.decode(body, type=_Workers).workers
    return {worker.url.removeprefix("http://") for worker in told if worker.is_healthy}


def cpu_percent(pid: int, seconds: float) -> float:
    """Return the CPU that a process uses within so many seconds, in percent of a core."""
    before, began = procfs.cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    after, taken = procfs.cpu_seconds(pid), time.monotonic() - began
    if before is None or after is None:
        raise BenchError("the control plane ended")
    return 100 * (after - before) / taken


def joins(
    context: "zmq.Context[zmq.Socket[bytes]]", router: Running, port: int, workers: list[str]
) -> tuple[list[float], list[float]]:
    """Return the seconds from first pings until the plane may send requests, and from goodbyes until it may not."""
    joined, left = [], []
    for worker in workers:
        with context.socket(zmq.DEALER) as one:
            one.setsockopt(zmq.LINGER, 0)
            began = time.monotonic()
            one.connect(f"tcp://127.0.0.1:{port}")
            one.send(
                encode_registration(Hello(registrar="bench", seq=1, url=f"http://{worker}", epoch=1, role="decode"))
            )
            net.wait_until(lambda worker=worker: worker in healthy(router), 30, "a worker that joins", 0.001)  # type: ignore[misc]
            joined.append(time.monotonic() - began)
            began = time.monotonic()
            one.send(encode_registration(Goodbye(registrar="bench", seq=2, url=f"http://{worker}")))
            net.wait_until(lambda worker=worker: worker not in healthy(router), 30, "a worker that leaves", 0.001)  # type: ignore[misc]
            left.append(time.monotonic() - began)
    return joined, left


def flood(port: int, seconds: float) -> int:
    """Send what nobody should, on many connections; return how many bytes were taken."""
    endless = (b"\x01\xc8" + b"A" * 200) * 50
    half = b"\x02" + (16_000).to_bytes(8, "big") + b"x" * 15_000
    ends, sent = time.monotonic() + seconds, 0
    with ExitStack() as stack:
        held: list[socket.socket] = []
        number = 0
        while time.monotonic() < ends:
            number += 1
            forged = {
                "type": "P",
                "http_address": f"10.{number % 250}.{number // 250 % 250}.1:80",
                "zmq_address": "10.0.0.1:1",
            }
            whole = msgspec.msgpack.encode(forged)
            messages = bytes((0, len(whole))) + whole
            for data in (endless, half, messages * 200, b"GET / HTTP/1.1\r\n\r\n"):
                one = stack.enter_context(socket.socket())
                one.bind((f"127.9.{number % 8}.1", 0))
                one.settimeout(0.05)
                with suppress(OSError):
                    one.connect(("127.0.0.1", port))
                    sent += one.send(_GREETING + _READY + data)
                    held.append(one)
            while len(held) > 2000:
                held.pop(0).close()
    return sent


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench discovery", description=__doc__)
    parser.add_argument("--workers", type=int, default=1000, help="workers that ping (default 1000)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each measurement (default 30)")
    options = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Processes() as processes, zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, options.workers + 100)
        upstream = Upstream(processes, options.workers + _JOINS + 1)
        first, *others = upstream.addresses(options.workers + _JOINS + 1)
        (port,) = net.free_ports(1)
        extra = (f"--vllm-discovery-address=127.0.0.1:{port}", *_QUIET)
        router = targets.start(processes, "routerctl", [first], 1, Path(folder) / "router", extra)
        try:
            router.wait_ready()
            net.wait_until(lambda: first in healthy(router), 30, "the first worker")
            (pid,) = (pid for pid in router.pids() if router.role(pid) == "control plane")
            joined, left = joins(context, router, port, others[:_JOINS])
            print(f"join to routable: p50 {quantile(joined, 0.5) * 1e3:.0f} ms, most {max(joined) * 1e3:.0f} ms")
            print(
                f"goodbye to no request: p50 {quantile(left, 0.5) * 1e3:.0f} ms, most {max(left) * 1e3:.0f} ms",
                flush=True,
            )
            fleet = Fleet(context, port, others[_JOINS:])
            with fleet.pinging():
                net.wait_until(lambda: len(healthy(router)) > options.workers, 120, "all workers", 0.5)
            # The first readings of all loads take a minute.
            time.sleep(_SETTLE)
            pings, silence = [], []
            for _ in range(2):
                with fleet.pinging():
                    pings.append(cpu_percent(pid, options.seconds))
                # Then all workers are looked at once, as they are quiet.
                time.sleep(2 * _PING + 4)
                silence.append(cpu_percent(pid, options.seconds))
            print(
                f"{options.workers} workers: {mean(pings):.1f} % of a core with pings each {_PING:g} s, "
                f"{mean(silence):.1f} % without: the pings cost {mean(pings) - mean(silence):.1f} %",
                flush=True,
            )
            before = procfs.memory(pid)
            sent = flood(port, _FLOOD_SECONDS)
            after = procfs.memory(pid)
            if before is None or after is None:
                raise BenchError("the control plane ended")
            print(f"a flood of {sent / 1e6:.0f} MB: {(after.rss - before.rss) / 1e6:+.1f} MB of memory")
            print(f"workers that are left: {len(healthy(router))} of {options.workers + 1}")
        finally:
            router.stop()
            context.destroy(linger=0)
    return 0
