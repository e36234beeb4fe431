"""G-EDGE-2: a client that stops reading costs little memory, stops its worker, and is cut off in the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.edge import adds_up, allow_descriptors, connect, cpu_seconds, open_files, resident
from tests.integration.routers import Router, eventually, router_before, samples, simulated_fleet

# Chunks as those of vLLM's streams, and more of them than the kernel's buffers take for a client that does not read.
EVENTS = "chunks=2400&size=250"
RECEIVE_BUFFER = 4096
PER_READER = 64 * 1024


@contextmanager
def stalled(router: Router, count: int, shape: str) -> Iterator[None]:
    """So many clients that ask for a stream and read nothing of it."""
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(connect(router, receive_buffer=RECEIVE_BUFFER))
            client.sendall(f"GET /sim/echo?{shape} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        yield


def settled(router: Router, plane: int, count: int) -> int:
    """Wait until the plane stands still with so many requests; return the memory that it holds then."""
    eventually(lambda: samples(router)["routerctl_active_requests"] == count, f"{count} streams")

    def is_still() -> bool:
        used = cpu_seconds(plane)
        time.sleep(0.5)
        return cpu_seconds(plane) - used < 0.1

    eventually(is_still, "the plane to stand still: a worker was not stopped")
    return resident(plane)


def wait_for_active(router: Router, most: int) -> None:
    eventually(lambda: samples(router)["routerctl_active_requests"] <= most, f"all but {most} to be cut off")


def counted(router: Router) -> None:
    """Wait until the plane has looked at its sockets, and bound what the kernel keeps for them."""
    with connect(router):
        eventually(lambda: samples(router)["routerctl_plane_client_connections"] >= 1, "the gauge")


@pytest.mark.parametrize(
    ("count", "shape", "most"),
    [
        (50, EVENTS, PER_READER),
        pytest.param(1000, EVENTS, PER_READER, marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
        # What is not made of tokens takes more: 4 messages in granian's queue, and its buffer.
        pytest.param(50, "chunks=100&size=16384", 6 * PER_READER, marks=pytest.mark.slow),
        pytest.param(50, "chunks=50&size=65536", 10 * PER_READER, marks=pytest.mark.slow),
        pytest.param(50, "bytes=4000000", 10 * PER_READER, marks=pytest.mark.slow),
    ],
)
def test_g_edge_2_stalled_readers(tmp_path: Path, count: int, shape: str, most: int) -> None:
    allow_descriptors(8192)
    limits = ("--client-write-timeout-secs=8" if count <= 50 else "--client-write-timeout-secs=12",)
    with (
        simulated_fleet(tmp_path, 1, "--time-scale=0", "--record=0") as workers,
        router_before(tmp_path, workers, *limits) as router,
    ):
        (plane,) = router.plane_pids()
        counted(router)
        # The first ones make the allocators' arenas; they are not what a reader costs.
        with stalled(router, 10, shape):
            settled(router, plane, 10)
        eventually(lambda: samples(router)["routerctl_active_requests"] == 0, "the first ones to be gone")
        before, idle = open_files(plane), resident(plane)
        with stalled(router, count, shape):
            each = (settled(router, plane, count) - idle) / count
            found = samples(router)
            assert found["routerctl_worker_inflight"] == count
            print(f"{count} stalled readers of {shape}: {each / 1024:.1f} KB each")
            # A kernel's buffer that is full still takes a little now and then: some are found to stand still later.
            for left in (count // 2, count // 20, 0):
                wait_for_active(router, left)
            found = samples(router)
            assert found["routerctl_request_errors_total"] == count
            assert adds_up(found)
            eventually(lambda: open_files(plane) <= before + 1, "every descriptor to be given back")
        assert each <= most
        assert resident(plane) - idle <= count * most
