"""A router's processes whose records can not be read (torn, of another version, removed), as the kernel knows them.

Who listens at a socket of the runtime folder is the plane that it is named for, whatever its code is. Who has lost its
socket, too, still holds the folder's lock (`shared.own_folder`), and a control plane its own.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from shared.process import start_ticks
from shared.runtime_dir import ProcessRecord

UNKNOWN_VERSION = "unknown"
_PATIENCE = 0.2
"""Seconds that a hung process' full queue of connections is waited for."""
_MODULES = (b"dataplane", b"controlplane.process")
_CREDENTIALS = struct.Struct("3i")


def listener(*sockets: Path) -> ProcessRecord | None:
    """Return the process that listens at one of these UNIX sockets; None where nobody does."""
    pid = next((pid for path in sockets if (pid := _listening_pid(path)) is not None), None)
    return described(pid) if pid is not None else None


def holders(locked: Path, known: Iterable[int] = ()) -> list[ProcessRecord]:
    """Return a router's processes that hold a file or folder locked, but this one and those whose pids are `known`.

    Others may do so, too: an operator's script, or systemd-tmpfiles.
    """
    try:
        info = locked.stat()
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    # 13: FLOCK  ADVISORY  READ 27959 fe:00:2638739 0 EOF
    fields = (line.split() for line in lines)
    pids = {int(of[4]) for of in fields if of[1] == "FLOCK" and of[5].rpartition(":")[2] == str(info.st_ino)}
    ours = (pid for pid in sorted(pids - {os.getpid(), *known}) if _is_ours(pid) and _has_open(pid, info))
    found = (described(pid) for pid in ours)
    return [record for record in found if record is not None]


def described(pid: int) -> ProcessRecord | None:
    """Return a record of a process as it would write it itself, but for its version; None when it does not run."""
    ticks = start_ticks(pid)
    if ticks is None:
        return None
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return ProcessRecord(pid=pid, start_ticks=ticks, version=UNKNOWN_VERSION, started=time.time() - age)


def _listening_pid(path: Path) -> int | None:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_PATIENCE)
        try:
            asking.connect(str(path))
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return None
    pid: int = _CREDENTIALS.unpack(told)[0]
    # 0 is a process that can not be seen from here (another PID namespace).
    return pid or None


def _is_ours(pid: int) -> bool:
    """Whether a process calls itself one of a router's; until it does, its command tells."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return command.startswith(b"routerctl: ") or any(part in command.split(b"\0") for part in _MODULES)


def _has_open(pid: int, info: os.stat_result) -> bool:
    """Whether a process has that very file open: the numbers of inodes are those of one file system only."""
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), info):
                    return True
    return False
