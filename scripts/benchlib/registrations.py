"""How long it takes until every plane honours what a worker that registers says, under light load.

`hello` counts from the frame's sending until every plane has the worker as ready, `goodbye` until none has it any more.
`SIGTERM` is a goodbye as `routerctl register` says it, from the signal on.
"""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from benchlib import net, peer, targets
from benchlib.admin import Admin
from benchlib.load import Upstream
from benchlib.processes import BenchError, Processes
from benchlib.timed_changes import under_light_load
from shared.registration import FromEngine, Goodbye, Hello, encode_registration

_WORKERS = 4
_PAUSE = 0.03
_PATIENCE = 30.0


def measure(
    processes: Processes, upstream: Upstream, planes: int, count: int, directory: Path
) -> dict[str, dict[str, float]]:
    """Have a worker come and go `count` times by frames, and a tenth as often by a process; return as `changes`."""
    *addresses, stranger = upstream.addresses(_WORKERS + 1)
    (port,) = net.free_ports(1)
    flag = f"--vllm-discovery-address=127.0.0.1:{port}"
    router = targets.start(processes, "routerctl", addresses, planes, directory, (flag,))
    taken: dict[str, list[float]] = {"hello": [], "goodbye": [], "SIGTERM": []}

    def come_and_go() -> None:
        with Admin(router.launch.admin_port, directory / "run") as admin:
            url, endpoint = f"http://{stranger}", f"tcp://127.0.0.1:{port}"
            _by_frames(admin, url, endpoint, count, taken)
            for _ in range(max(5, count // 10)):
                taken["SIGTERM"].append(_by_process(processes, admin, url, endpoint, directory))

    try:
        router.wait_ready()
        return under_light_load(processes, router, come_and_go, taken)
    finally:
        router.stop()


def _by_frames(admin: Admin, url: str, endpoint: str, count: int, taken: dict[str, list[float]]) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        for number in range(1, count + 1):
            hello = Hello(registrar="bench", seq=2 * number, url=url, epoch=number)
            taken["hello"].append(_timed(admin, lambda said=hello: _send(socket, said), _WORKERS + 1))  # type: ignore[misc]
            goodbye = Goodbye(registrar="bench", seq=2 * number + 1, url=url)
            taken["goodbye"].append(_timed(admin, lambda said=goodbye: _send(socket, said), _WORKERS))  # type: ignore[misc]


def _send(socket: "zmq.Socket[bytes]", said: FromEngine) -> None:
    socket.send(encode_registration(said))


def _by_process(processes: Processes, admin: Admin, url: str, endpoint: str, directory: Path) -> float:
    command = [str(peer.ROOT / ".venv" / "bin" / "routerctl"), "register", f"--router={endpoint}", f"--url={url}"]
    registrar = processes.start(command, log=directory / "registrar.log")
    _until_ready(admin, _WORKERS + 1)
    took = _timed(admin, lambda: registrar.send_signal(signal.SIGTERM), _WORKERS)
    if registrar.wait(_PATIENCE) != 0:
        raise BenchError(f"a registrar failed; see {directory / 'registrar.log'}")
    return took


def _timed(admin: Admin, act: Callable[[], None], ready: int) -> float:
    time.sleep(random.uniform(0, _PAUSE))
    began = time.monotonic()
    act()
    _until_ready(admin, ready)
    return time.monotonic() - began


def _until_ready(admin: Admin, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while any(status.ready_workers != count for status in admin.statuses()):
        if time.monotonic() > deadline:
            raise BenchError(f"not every plane has {count} ready workers after {_PATIENCE:g} s")
        time.sleep(0.001)
