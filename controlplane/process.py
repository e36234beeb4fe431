"""The control plane's process: `python -m controlplane.process RUNTIME_DIR`.

Exit status: 0 ended by a signal, 1 it could not go on, 2 its configuration can not work.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import setproctitle
import uvloop

from controlplane.control_plane import ControlPlane
from controlplane.events.recorder import recorded_events
from controlplane.last_known_good import next_epoch, read_epoch, read_table, write_epoch
from shared.clock import SystemClock
from shared.config import ConfigError, StartConfig
from shared.logs import configure_logging
from shared.own_folder import begin_in
from shared.own_record import OwnRecord
from shared.process import own_record
from shared.runtime_dir import ProcessRecord, RuntimeDir, RuntimeDirError, read_record

LOCK_PATIENCE = 5.0
"""Seconds that a predecessor gets to end."""
_LOCK_POLL = 0.02

log = logging.getLogger(__name__)


def run(runtime: RuntimeDir) -> int:
    """Be the control plane of the router in this runtime folder. Returns the exit status."""
    setproctitle.setproctitle("routerctl: control plane")
    try:
        config = begin_in(runtime)
    except RuntimeDirError as error:
        print(f"routerctl: control plane: {error}", file=sys.stderr)
        return 2
    configure_logging("control plane", config.log_level, log_format=config.log_format, folder=config.log_dir)
    try:
        lock = _take_lock(runtime)
    except OSError as error:
        log.error("can not use the runtime folder %s: %s", runtime.path, error.strerror)
        return 1
    if lock is None:
        log.error("another control plane runs on %s; stop it first, or use another --runtime-dir", runtime.path)
        return 1
    with lock, recorded_events(runtime, "control plane"):
        return _run_alone(config, runtime)


def _run_alone(config: StartConfig, runtime: RuntimeDir) -> int:
    clock = SystemClock()
    own = own_record()
    record = OwnRecord(runtime.control_plane, own)
    record.tend()
    table = read_table(runtime)
    earlier_epoch = max(read_epoch(runtime), table.stamp.epoch if table is not None else 0)
    epoch = next_epoch(earlier_epoch, clock.wall())
    write_epoch(runtime, epoch)
    supervisor = read_record(runtime.supervisor, ProcessRecord)
    control_plane = ControlPlane(
        config,
        runtime,
        epoch=epoch,
        earlier_table=table,
        # Epochs are Unix milliseconds or later: one above the supervisor's start is that of a predecessor under it.
        is_first_start=supervisor is None or earlier_epoch < supervisor.started * 1000,
        own=own,
        clock=clock,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run_until_signal(control_plane, record))
    except* ConfigError as group:
        print(f"routerctl: {_first(group)}", file=sys.stderr)
        return_code = 2
    except* Exception:
        log.exception("the control plane can not go on")
        return_code = 1
    else:
        return_code = 0
    _clear(runtime, own)
    return return_code


def _clear(runtime: RuntimeDir, own: ProcessRecord) -> None:
    """Remove what would make others look for this process. We still hold the lock, so all of it is ours."""
    for endpoint in (runtime.publish_endpoint, runtime.control_endpoint):
        Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
    record = read_record(runtime.control_plane, ProcessRecord)
    if record is not None and (record.pid, record.start_ticks) == (own.pid, own.start_ticks):
        runtime.control_plane.unlink(missing_ok=True)


async def _run_until_signal(control_plane: ControlPlane, record: OwnRecord) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, control_plane.configuration.ask)
    # The supervisor starts us with it blocked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    tending = asyncio.create_task(record.run())
    try:
        await control_plane.run(stop)
    finally:
        tending.cancel()


def _take_lock(runtime: RuntimeDir) -> BinaryIO | None:
    """Return the open file that makes this process the folder's one control plane; None when another one stays."""
    file = open(runtime.control_plane_lock, "ab")  # noqa: SIM115 - the caller holds it for the process' life
    clock = SystemClock()
    deadline = clock.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() >= deadline:
                file.close()
                return None
            time.sleep(_LOCK_POLL)
        else:
            return file


def _first(group: BaseExceptionGroup[ConfigError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> int:
    """Run with the command line's arguments."""
    if len(sys.argv) != 2:
        print("usage: python -m controlplane.process RUNTIME_DIR", file=sys.stderr)
        return 2
    return run(RuntimeDir(Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
