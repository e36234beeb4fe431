"""What the log says of a worker's change."""

from __future__ import annotations

import logging

from controlplane.events.event import about
from controlplane.registry import Change

log = logging.getLogger("controlplane.control_plane")


def log_change(change: Change) -> None:
    """Log a change that people want to know of."""
    before, after = change
    extra = about("worker", after.id)
    if before.epoch != after.epoch:
        log.info("worker %s was restarted", after.id, extra=extra)
    if before.state == after.state:
        if after.state == "starting" and after.reason != before.reason:
            log.info("worker %s is not there yet: %s", after.id, after.reason, extra=extra)
        return
    if after.state in ("unhealthy", "ejected"):
        log.warning("worker %s is %s (was %s): %s", after.id, after.state, before.state, after.reason, extra=extra)
    else:
        why = f": {after.reason}" * bool(after.reason)
        log.info("worker %s is %s (was %s)%s", after.id, after.state, before.state, why, extra=extra)
