"""When a plane tells the control plane what it holds of the limits."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dataplane.admission.admission import Admission
from dataplane.admission.borrower import LOOK_INTERVAL
from dataplane.subscriber.client import SubscriberClient
from shared.leases import RENEWAL_INTERVAL
from shared.plane_identity import PlaneIdentity

SPACING = 0.005
"""Seconds between two reports at least, however many requests come and go."""


async def report_leases(admission: Admission, subscriber: SubscriberClient, identity: PlaneIdentity) -> None:
    """Report until cancelled: at once where somebody waits for it, soon after a change, else to renew the leases."""
    loop = asyncio.get_running_loop()
    when = 0.0
    while True:
        with suppress(TimeoutError):
            # Without limits there is nothing to look for until a table brings some.
            async with asyncio.timeout(LOOK_INTERVAL if admission.tells else None):
                await admission.needs_report.wait()
        admission.needs_report.clear()
        now = loop.time()
        report = admission.report(identity, subscriber.epoch, is_due=now - when >= RENEWAL_INTERVAL)
        # One that is lost is no matter: the next one holds what it told.
        if report is not None and subscriber.report_leases(report):
            when = now
        await asyncio.sleep(SPACING)
