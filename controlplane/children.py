"""Starting processes, finding those that an earlier supervisor started, and signalling either of them safely.

Nothing here imports asyncio: the children are started before the supervisor loads anything it needs later.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec

from controlplane.strays import holders, listener
from shared.plane_identity import PlaneIdentity
from shared.process import is_alive, start_ticks
from shared.runtime_dir import PlaneRecord, ProcessRecord, RuntimeDir, read_record, write_record
from shared.version import __version__

log = logging.getLogger("supervisor")


@dataclass(frozen=True)
class Commands:
    """How the processes are started. A plane's command gets `--slot N --id HEX16 [--after HEX16]` behind it."""

    control_plane: tuple[str, ...]
    plane: tuple[str, ...]


def own_commands(runtime: RuntimeDir, *, is_remote: bool = False) -> Commands:
    """Return the commands of this installation. With `is_remote` planes follow a control plane on another host."""
    # -P: a folder named `shared` where the user happens to stand must not take our package's place.
    python = (sys.executable, "-P", "-m")
    plane = (*python, "dataplane", str(runtime.path), *(("--remote",) if is_remote else ()))
    return Commands((*python, "controlplane.process", str(runtime.path)), plane)


@dataclass(frozen=True)
class Process:
    """A running process, held by a pidfd: signals reach it or nobody, even when its pid is used again.

    `popen` is None for one that an earlier supervisor started: its exit status goes to someone else.
    """

    record: ProcessRecord
    pidfd: int
    popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self.record.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return


@dataclass(frozen=True)
class Plane:
    """A plane and the process that it is."""

    process: Process
    identity: PlaneIdentity

    def __str__(self) -> str:
        return f"plane {self.identity.slot} (pid {self.process.pid})"


class Spawner:
    """Starts the router's processes, each in a session of its own, so that it outlives us and our terminal."""

    def __init__(self, runtime: RuntimeDir, commands: Commands, fingerprint: str) -> None:
        self._runtime = runtime
        self._commands = commands
        self._fingerprint = fingerprint

    def control_plane(self) -> Process:
        """Start a control plane and note it down."""
        # A reload that is asked for before it listens for SIGHUP must neither end it nor be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            process = _spawn(self._commands.control_plane)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _note(self._runtime.control_plane, process.record)
        return process

    def plane(self, slot: int, after: str | None = None) -> Plane:
        """Start a plane for `slot` and note it down: were we killed now, our successor must find it.

        `after` is the id of the plane whose clients' queue it takes over.
        """
        plane_id = secrets.token_hex(8)
        behind = ("--after", after) if after is not None else ()
        process = _spawn((*self._commands.plane, "--slot", str(slot), "--id", plane_id, *behind))
        identity = PlaneIdentity(
            id=plane_id, slot=slot, pid=process.pid, version=__version__, started=process.record.started
        )
        record = PlaneRecord(process=process.record, identity=identity, fingerprint=self._fingerprint)
        _note(self._runtime.plane(plane_id), record)
        return Plane(process, identity)


def _spawn(command: tuple[str, ...]) -> Process:
    popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=True, start_new_session=True)
    record = ProcessRecord(
        pid=popen.pid, start_ticks=start_ticks(popen.pid) or 0, version=__version__, started=time.time()
    )
    try:
        return Process(record, os.pidfd_open(popen.pid), popen)
    except OSError:
        # Nobody could watch it, and the next attempt would start another one beside it.
        popen.kill()
        popen.wait()
        raise


def _note(path: Path, record: msgspec.Struct) -> None:
    try:
        write_record(path, record)
    except OSError as error:
        # The process runs and must be watched; it writes the same record itself, if that can be done.
        log.warning("can not write %s: %s", path, error.strerror)


def find(record: ProcessRecord) -> Process | None:
    """Return the process that the record is about; None when it has ended."""
    try:
        pidfd = os.pidfd_open(record.pid)
    except OSError:
        return None
    # Only now: a pid that was checked before it was opened could have changed hands in between.
    if is_alive(record):
        return Process(record, pidfd)
    os.close(pidfd)
    return None


def find_control_plane(runtime: RuntimeDir) -> Process | None:
    """Return the control plane that an earlier supervisor left behind; None when there is none."""
    record = read_record(runtime.control_plane, ProcessRecord)
    if record is not None and (process := find(record)) is not None:
        return process
    return next((process for one in holders(runtime.control_plane_lock) if (process := find(one)) is not None), None)


def find_planes(runtime: RuntimeDir) -> list[tuple[PlaneRecord, Plane]]:
    """Return the planes that an earlier supervisor left behind and whose records can be read. Touches nothing."""
    found = []
    for path in sorted(runtime.planes.glob("*.json")):
        record = read_record(path, PlaneRecord)
        process = find(record.process) if record is not None else None
        if record is not None and process is not None:
            found.append((record, Plane(process, record.identity)))
    return found


def find_strays(runtime: RuntimeDir, known: Collection[int]) -> dict[str, Process]:
    """Return the planes, by their ids, of which no record can be read and whose pids are none of the `known`.

    One that has lost its socket, too, gets another id: whoever replaces it can not ask it for its clients' queue.
    """
    ids = {_plane_id(path) for path in (*runtime.planes.glob("*.json"), *runtime.path.glob("plane-*"))}
    records = {one: listener(runtime.plane_socket(one), runtime.plane_handover(one)) for one in sorted(ids)}
    named = {one: record for one, record in records.items() if record is not None and record.pid not in known}
    nameless = holders(runtime.path, {*known, *(record.pid for record in named.values())})
    named.update((secrets.token_hex(8), record) for record in nameless)
    return {one: process for one, record in named.items() if (process := find(record)) is not None}


def forget_plane(runtime: RuntimeDir, plane_id: str) -> None:
    """Remove what a dead plane left in the runtime folder."""
    runtime.plane(plane_id).unlink(missing_ok=True)
    runtime.plane_socket(plane_id).unlink(missing_ok=True)
    runtime.plane_handover(plane_id).unlink(missing_ok=True)


def forget_all_but(runtime: RuntimeDir, living: set[str]) -> None:
    """Remove the records and sockets of every plane whose id is not in `living`."""
    for path in (*runtime.planes.glob("*.json"), *runtime.path.glob("plane-*")):
        if _plane_id(path) not in living:
            path.unlink(missing_ok=True)


def _plane_id(path: Path) -> str:
    return path.stem.removeprefix("plane-")
