"""What is said of planes that can not do what they should: refuse a table, or take no clients for want of a file."""

from __future__ import annotations

import logging

from controlplane.events.event import about_plane
from controlplane.planes import MAX_NACK
from shared.messages import Nack
from shared.plane_report import CounterReport

log = logging.getLogger(__name__)


def tell_of_refusal(nack: Nack) -> None:
    """Log why a plane keeps the table that it had."""
    name = nack.plane.label
    log.warning("plane %s refuses the table: %s", name, nack.reason[:MAX_NACK], extra=about_plane(name))


def tell_of_waiting(report: CounterReport) -> None:
    """Log what a plane waits for by now, or that it waits no more."""
    name = report.plane.label
    if report.waits_for:
        log.error("plane %s takes no clients: %s", name, report.waits_for, extra=about_plane(name))
    else:
        log.info("plane %s has the files that it needs", name, extra=about_plane(name))
