"""What the log says of a worker's change."""

from __future__ import annotations

import logging

from controlplane.registry import Change

log = logging.getLogger("controlplane.control_plane")


def log_change(change: Change) -> None:
    """Log a change that people want to know of."""
    before, after = change
    if before.epoch != after.epoch:
        log.info("worker %s was restarted", after.id)
    if before.state == after.state:
        if after.state == "starting" and after.reason != before.reason:
            log.info("worker %s is not there yet: %s", after.id, after.reason)
        return
    if after.state in ("unhealthy", "ejected"):
        log.warning("worker %s is %s (was %s): %s", after.id, after.state, before.state, after.reason)
    else:
        log.info(
            "worker %s is %s (was %s)%s", after.id, after.state, before.state, f": {after.reason}" * bool(after.reason)
        )
