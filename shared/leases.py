"""What control plane and planes say to each other about limits: who holds how much of each, and for how long.

A plane reports what it uses and needs, and each report is answered by a grant. Both tell what changed since the last
one that the other side is known to have taken in (`shared.changes`), so that many limits cost little while few move,
and each renews, or confirms, all the others. A lease lives `LEASE_LIFE` from the
moment in which the report was *sent* that the grant answers. The control plane counts it from the grant's sending,
which is later, so a lease ends on the plane first, however long messages are under way and whatever the clocks say
(Gray and Cheriton, "Leases", 1989).
"""

from __future__ import annotations

import msgspec

from shared.plane_identity import PlaneIdentity
from shared.table import Stamp

LEASE_LIFE = 1.0
"""Seconds. Four renewals fit in, so three may be lost."""
RENEWAL_INTERVAL = 0.25
"""Seconds between two reports of a plane at most."""
SETTLING = 3 * LEASE_LIFE
"""Seconds without a grant after which every other plane's lease has ended, or was made smaller for this plane's sake:
one life until the control plane knows that the plane is cut off, one for messages under way, one for the others."""
MAX_TENANTS = 32
"""Tenants that a report names in each class; what all others need is told in one sum."""
OTHERS = "\0others"
"""The name of that sum: no tenant can be called so."""


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """What a plane has of one limit.

    `in_use` are slots taken (0 for a rate), `permitted` is what it may use at most, `fallback` what it would use
    without a control plane. `needs` is what it could use now, for each class (best first) by tenant: what is in use and
    what waits.
    """

    in_use: int
    permitted: int
    fallback: int
    needs: tuple[dict[str, int], ...]


class LeaseReport(msgspec.Struct, frozen=True, tag="lease-report"):
    """Sent at once when requests begin to wait or a lease was made smaller, else every `RENEWAL_INTERVAL`.

    `epoch` is the control plane's that the plane follows, `applied` the number of the last grant of that epoch that
    it goes by (0: none yet). `holdings` are those that changed since report `since`, which the control plane has
    answered; all there are where that is 0. They are of the limits that version `table` of that epoch's table has (0:
    the plane goes by an older epoch's).
    """

    plane: PlaneIdentity
    epoch: int
    seq: int
    applied: int
    waiting: int
    since: int
    holdings: dict[str, Holding]
    table: int


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """How much of a limit a plane may use, and how much it keeps at most when it hears no more of the control plane.

    Where more is needed than there is, `meant` is for whom, by tenant: work-conserving, as what one does not use others
    may. More may be meant than the lease is for, as not everybody uses all of his part. `whole` is the limit that is
    divided, which is smaller than what is set where it is found; 0: not told.
    """

    amount: int
    fallback: int
    meant: dict[str, int] = {}
    whole: int = 0


class LeaseGrant(msgspec.Struct, frozen=True, tag="lease-grant"):
    """One plane's leases: those that changed since grant `since`, which it goes by; all there are where that is 0.

    None in a lease's place takes it away: nobody has needed that limit for long. `answers` is the `seq` of the last
    report that was heard.
    """

    stamp: Stamp
    number: int
    answers: int
    since: int
    leases: dict[str, Lease | None]
