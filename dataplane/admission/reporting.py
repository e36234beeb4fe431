"""When a plane tells the control plane what it holds of the limits."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dataplane.admission.admission import Admission
from dataplane.subscriber.client import SubscriberClient
from shared.leases import RENEWAL_INTERVAL, LeaseReport
from shared.plane_identity import PlaneIdentity

LOOK_INTERVAL = 0.05
"""Seconds between two looks at whether something has changed: half of the time in which unused parts are to move on."""
SPACING = 0.005
"""Seconds between two reports at least, however many requests come and go."""


async def report_leases(admission: Admission, subscriber: SubscriberClient, identity: PlaneIdentity) -> None:
    """Report until cancelled: at once where somebody waits for it, soon after a change, else to renew the leases."""
    loop = asyncio.get_running_loop()
    told: LeaseReport | None = None
    when = 0.0
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_INTERVAL):
                await admission.needs_report.wait()
        admission.needs_report.clear()
        report = admission.report(identity, subscriber.epoch)
        now = loop.time()
        if report is not None and (now - when >= RENEWAL_INTERVAL or not told or _differ(told, report)):
            admission.sent(report.seq)
            if subscriber.report_leases(report):
                told, when = report, now
        await asyncio.sleep(SPACING)


def _differ(one: LeaseReport, other: LeaseReport) -> bool:
    return (one.epoch, one.applied, one.waiting, one.holdings) != (
        other.epoch,
        other.applied,
        other.waiting,
        other.holdings,
    )
