"""Facts about processes, from /proc: who runs, and whether it still is the one that was meant."""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress

import msgspec

from shared.plane_identity import PlaneIdentity
from shared.runtime_dir import PlaneRecord, ProcessRecord, RuntimeDir, SupervisorRecord, read_record, write_record
from shared.version import __version__

_MAX_STAT = 4096
"""Bytes: 52 numbers and a short name."""


def start_ticks(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot; None when it does not run (or is a zombie)."""
    try:
        # A file object would cost more than the reading: this is asked again and again.
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(descriptor, _MAX_STAT)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    # The command, field 2, stands in parentheses and may hold spaces and parentheses of its own.
    fields = text[text.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def own_record() -> ProcessRecord:
    """Describe this process."""
    # Who only looks at records need not load all messages.
    from shared.plane_fingerprint import wire_digest

    pid = os.getpid()
    ticks, wire = start_ticks(pid) or 0, wire_digest()
    return ProcessRecord(pid=pid, start_ticks=ticks, version=__version__, started=time.time(), wire=wire)


def tell_stopping(runtime: RuntimeDir) -> None:
    """Have the runtime folder say that the router stops."""
    record = read_record(runtime.supervisor, SupervisorRecord)
    # On a full disk people are not told, and it stops all the same.
    with suppress(OSError):
        if record is not None:
            write_record(runtime.supervisor, msgspec.structs.replace(record, is_stopping=True))


def is_alive(record: ProcessRecord) -> bool:
    """Whether that very process still runs."""
    return start_ticks(record.pid) == record.start_ticks


def living_planes(runtime: RuntimeDir) -> list[PlaneRecord]:
    """Return the planes that run, as the runtime folder knows them, in the order of their ids."""
    records = (read_record(path, PlaneRecord) for path in sorted(runtime.planes.glob("*.json")))
    return [record for record in records if record is not None and is_alive(record.process)]


def has_ended(runtime: RuntimeDir, plane: PlaneIdentity) -> bool:
    """Whether the process of a plane on this host runs no more."""
    record = read_record(runtime.plane(plane.id), PlaneRecord)
    if record is None:
        # Removed with the process, or not to be read: then it is not for the record to say.
        return start_ticks(plane.pid) is None
    return not is_alive(record.process)


def raise_descriptor_limit() -> int:
    """Raise this process's limit of open files as far as it may go; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
