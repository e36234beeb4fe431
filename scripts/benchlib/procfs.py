"""What the kernel knows of other processes: family, CPU time, memory."""

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Identity:
    """One process for ever: a pid alone may come back as another process."""

    pid: int
    started: int


@dataclass(frozen=True)
class Memory:
    """Memory of one process in bytes; `pss` (shared pages divided by their users) None if not readable."""

    rss: int
    pss: int | None


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the name, so index 0 is field 3 of proc(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def identify(pids: Iterable[int]) -> set[Identity]:
    """Return those of `pids` that run now."""
    found = set()
    for pid in pids:
        fields = _stat(pid)
        if fields is not None and fields[0] not in "ZX":
            found.add(Identity(pid, int(fields[19])))
    return found


def alive(process: Identity) -> bool:
    """Tell whether this very process still runs (a zombie does not)."""
    return process in identify([process.pid])


def _children_by_parent() -> dict[int, set[int]]:
    children: dict[int, set[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))) is not None:
            children.setdefault(int(fields[1]), set()).add(int(entry))
    return children


def children(parent: int) -> set[int]:
    """Return the pids of the direct children of `parent`."""
    return _children_by_parent().get(parent, set())


def descendants(root: int) -> set[int]:
    """Return the pids of all children of `root`, and of theirs, in whatever session they are."""
    by_parent = _children_by_parent()
    found: set[int] = set()
    frontier = {root}
    while frontier:
        frontier = set().union(*(by_parent.get(pid, set()) for pid in frontier)) - found
        found |= frontier
    return found


def cpu_seconds(pid: int) -> float | None:
    """Return the user and system time of all threads of a process, dead ones included; None if gone.

    The process's CPU clock holds the sum that /proc/PID/stat rounds to ticks of 10 ms; short rounds
    need the finer figure (clock id as in clock_getcpuclockid(3)).
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        fields = _stat(pid)
        return None if fields is None else (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> Memory | None:
    """Return what a process holds, None if it is gone."""
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except PermissionError:
        return Memory(resident, None)
    except (FileNotFoundError, ProcessLookupError):
        return None
    match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return Memory(resident, int(match[1]) * 1024 if match else None)


def title(pid: int) -> str:
    """Return the name a process goes by (its first argument's last part), for tables."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return "?"
    names = [word.decode(errors="replace") for word in words if word]
    if len(names) > 1 and "python" in names[0]:
        names = names[1:]
    return names[0].rpartition("/")[2] if names else "?"
