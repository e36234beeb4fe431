"""What a control plane leaves on disk for its successor and for planes that start without one: epoch and table."""

from __future__ import annotations

import logging

from shared.messages import MessageError, decode_table
from shared.runtime_dir import RuntimeDir, write_atomically
from shared.table import RoutingTable

log = logging.getLogger(__name__)


def read_table(runtime: RuntimeDir) -> RoutingTable | None:
    """Return the table that an earlier control plane published last; None when there is none that can be read."""
    try:
        return decode_table(runtime.table.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, MessageError) as error:
        log.warning("the last known good table %s can not be read: %s", runtime.table, error)
        return None


def read_epoch(runtime: RuntimeDir) -> int:
    """Return the last epoch that was used; 0 when none is known."""
    try:
        return int(runtime.epoch.read_text())
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        log.warning("the last epoch in %s can not be read: %s", runtime.epoch, error)
        return 0


def next_epoch(earlier: int, wall: float) -> int:
    """Return an epoch above all earlier ones. `wall` (Unix seconds) keeps epochs rising when the files are lost."""
    return max(earlier + 1, int(wall * 1000))


def write_epoch(runtime: RuntimeDir, epoch: int) -> None:
    """Store the epoch. A disk that does not take it is logged: the clock keeps the next epoch above this one."""
    try:
        write_atomically(runtime.epoch, str(epoch).encode())
    except OSError as error:
        log.error("can not store the epoch in %s: %s", runtime.epoch, error.strerror)
