"""What a plane tells of its limits: what changed, and all of it where it matters."""

from __future__ import annotations

from dataplane.admission.borrower import LOOK_INTERVAL, Borrower
from dataplane.admission.gate import Gate
from dataplane.admission.quota import Slots
from shared.leases import LEASE_LIFE, SETTLING, Holding, Lease, LeaseGrant, LeaseReport
from shared.limits import Limit
from shared.plane_identity import PlaneIdentity
from shared.table import Stamp

IDENTITY = PlaneIdentity(id="p", slot=0, pid=1, version="1", started=0.0)
KEYS = 200
TOTAL = Limit("total", "slots", 100)
NOBODY = (0, "")


class Plane:
    """One with a limit of all and many of keys."""

    def __init__(self) -> None:
        limits = (TOTAL, *(Limit(f"key:{number}:open", "slots", 10) for number in range(KEYS)))
        self.gate = Gate()
        self.gate.use(limits, 10)
        self.borrower = Borrower(self.gate, 0.0)
        self.borrower.use(limits, 2, 10.0)
        self.granted = 0

    def report(self, now: float, *, is_due: bool = True, epoch: int = 1) -> LeaseReport | None:
        return self.borrower.report(IDENTITY, epoch, now, is_due=is_due)

    def told(self, now: float, *, epoch: int = 1) -> dict[str, Holding]:
        report = self.report(now, epoch=epoch)
        assert report is not None
        return report.holdings

    def grant(self, now: float, leases: dict[str, Lease | None], *, since: int | None = None) -> bool | None:
        """Answer what it told last."""
        self.granted += 1
        since = self.granted - 1 if since is None else since
        grant = LeaseGrant(Stamp(1, 1, 0), self.granted, self.borrower._seq, since, leases)
        return self.borrower.take(grant, now)


def slots(plane: Plane, name: str) -> Slots:
    quota = plane.gate.quotas[name]
    assert isinstance(quota, Slots)
    return quota


def test_a_key_s_limit_is_told_of_once_somebody_needs_it() -> None:
    plane = Plane()
    assert list(plane.told(0.0)) == ["total"]
    plane.grant(0.0, {"total": Lease(50, 50)}, since=0)
    quota = plane.gate.quotas["key:7:open"]
    quota.refused.add(NOBODY, 0.1)
    told = plane.told(0.1)
    assert set(told) == {"total", "key:7:open"}
    assert told["key:7:open"] == Holding(0, 0, 5, ({"": 1}, {}))


def test_without_limits_there_is_something_to_tell_only_until_all_is_known_to_be_given_back() -> None:
    plane = Plane()
    assert plane.borrower.tells
    plane.told(0.0)
    plane.grant(0.0, {"total": Lease(50, 50)}, since=0)
    plane.gate.use((), 10)
    plane.borrower.use((), 2, 10.0)
    assert plane.borrower.tells
    assert plane.told(0.1) == {"total": Holding(0, 0, 0, ())}
    assert plane.borrower.tells
    for now in (0.1, 0.2):
        plane.grant(now, {"total": None} if plane.granted == 1 else {})
        plane.report(now + 0.05)
    assert not plane.borrower.tells


def test_only_what_changed_since_the_last_answer_is_told() -> None:
    plane = Plane()
    plane.told(0.0)
    plane.grant(0.0, {"total": Lease(50, 50)}, since=0)
    plane.told(0.05)
    plane.grant(0.05, {})
    assert plane.told(0.1) == {}
    slots(plane, "total").take(NOBODY, 0.1)
    assert list(plane.told(0.1 + LOOK_INTERVAL)) == ["total"]
    # Nobody has answered that yet.
    assert list(plane.told(0.2)) == ["total"]
    plane.grant(0.2, {})
    assert plane.told(0.25) == {}
    assert plane.report(0.3, is_due=False) is None


def test_a_control_plane_that_begins_or_was_long_silent_is_told_all() -> None:
    plane = Plane()
    plane.told(0.0)
    plane.grant(0.0, {"total": Lease(50, 50), "key:1:open": Lease(5, 5)}, since=0)
    plane.told(0.05)
    plane.grant(0.05, {})
    assert set(plane.told(0.1, epoch=2)) == {"total", "key:1:open"}
    assert plane.told(0.1) == {}
    assert set(plane.told(0.1 + LEASE_LIFE)) == {"total", "key:1:open"}


def test_what_is_in_use_is_told_with_the_lease_that_was_made_smaller() -> None:
    plane = Plane()
    plane.told(0.0)
    plane.grant(0.0, {f"key:{number}:open": Lease(8, 5) for number in range(KEYS)}, since=0)
    plane.told(0.01)
    plane.grant(0.01, {})
    for number in range(KEYS):
        for _ in range(6):
            slots(plane, f"key:{number}:open").take(NOBODY, 0.02)
    assert plane.grant(0.03, {"key:199:open": Lease(1, 5)})
    assert plane.told(0.031)["key:199:open"].in_use == 6


def test_what_was_used_without_any_lease_is_told_when_a_control_plane_answers() -> None:
    plane = Plane()
    now = SETTLING + 1
    plane.borrower.refresh(now)
    quota = slots(plane, "key:3:open")
    assert quota.allowed == 5
    report = plane.report(now)
    quota.take(NOBODY, now)
    assert report is not None
    plane.grant(now, {"total": Lease(50, 50)}, since=0)
    assert quota.allowed == 0
    assert plane.told(now)["key:3:open"].in_use == 1


def test_a_lease_that_was_taken_back_is_told_of_once_more_and_then_no_more() -> None:
    plane = Plane()
    plane.told(0.0)
    plane.grant(0.0, {"key:1:open": Lease(5, 5)}, since=0)
    plane.told(0.05)
    plane.grant(0.05, {"key:1:open": None})
    assert plane.told(0.1)["key:1:open"] == Holding(0, 0, 0, ())
    plane.grant(0.1, {})
    assert plane.told(0.15) == {}
    assert set(plane.told(0.2, epoch=2)) == {"total"}


def test_of_many_limits_each_is_looked_at_within_a_second() -> None:
    plane = Plane()
    now = 0.0
    plane.told(now)
    plane.grant(now, {f"key:{number}:open": Lease(0, 0) for number in range(KEYS)}, since=0)
    for number in range(KEYS):
        plane.gate.quotas[f"key:{number}:open"].refused.add(NOBODY, now)
    plane.told(now)
    for _ in range(80):
        # What was wanted is forgotten by time alone.
        now += LOOK_INTERVAL
        plane.grant(now, {})
        plane.report(now)
    assert not any(any(holding.needs) for holding in plane.told(now, epoch=2).values())
