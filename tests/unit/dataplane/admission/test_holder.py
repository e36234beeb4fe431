"""What a lease is worth as it grows older."""

from __future__ import annotations

from dataplane.admission.holder import Holder
from shared.leases import LEASE_LIFE, SETTLING, Lease, LeaseGrant
from shared.limits import MARGIN, WINDOW, WINDOW_STEP, Limit
from shared.table import Stamp

SLOTS = Limit("total", "slots", 100)
RATE = Limit("rate", "rate", 1000)
PER_MINUTE = Limit("window", "window", 100)
LONGEST = 10.0


def grant(number: int, answers: int, *, epoch: int = 1, amount: int = 40, fallback: int = 25) -> LeaseGrant:
    lease = Lease(amount, fallback)
    return LeaseGrant(Stamp(epoch, 1, 0), number, answers, 0, {"total": lease, "rate": lease, "window": lease})


def permitted(holder: Holder, now: float, limit: Limit = SLOTS) -> int:
    return holder.permitted(limit, 4, LONGEST, now)


def test_a_lease_is_as_old_as_the_report_that_it_answers() -> None:
    holder = Holder(0.0)
    holder.sent(1, 10.0)
    assert holder.take(grant(1, 1))
    assert permitted(holder, 10.0 + LEASE_LIFE - 0.01) == 40
    assert permitted(holder, 10.0 + LEASE_LIFE) == 25


def test_a_lease_that_was_smaller_than_the_fallback_grows_when_all_others_have_surely_shrunk() -> None:
    holder = Holder(0.0)
    holder.sent(1, 10.0)
    holder.take(grant(1, 1, amount=5))
    settled = 10.0 + SETTLING + LONGEST + MARGIN
    assert permitted(holder, settled - 0.1) == 5
    assert permitted(holder, settled) == 25
    # Nobody holds a part of a rate for longer than its lease.
    assert permitted(holder, 10.0 + SETTLING - 0.1, RATE) == 5
    assert permitted(holder, 10.0 + SETTLING, RATE) == 25
    over = 10.0 + SETTLING + WINDOW + WINDOW_STEP
    assert permitted(holder, over - 0.1, PER_MINUTE) == 5
    assert permitted(holder, over, PER_MINUTE) == 25


def test_a_plane_that_was_never_granted_anything_takes_its_fair_share_when_nobody_else_can_have_it() -> None:
    holder = Holder(5.0)
    assert permitted(holder, 5.0 + SETTLING - 0.1) == 0
    assert not holder.knows(SLOTS, 5.0 + SETTLING - 0.1)
    assert permitted(holder, 5.0 + SETTLING) == 25
    assert holder.knows(SLOTS, 5.0 + SETTLING)


def test_grants_that_come_late_or_twice_change_nothing() -> None:
    holder = Holder(0.0)
    for seq in (1, 2, 3):
        holder.sent(seq, float(seq))
    assert holder.take(grant(5, 3, amount=30))
    assert not holder.take(grant(5, 3))
    assert not holder.take(grant(4, 2))
    assert permitted(holder, 3.1) == 30
    assert (holder.follow(1), holder.follow(2)) == (5, 0)


def test_a_new_control_planes_grants_count_from_one_again() -> None:
    holder = Holder(0.0)
    holder.sent(1, 1.0)
    holder.take(grant(50, 1))
    holder.sent(2, 2.0)
    assert holder.take(grant(1, 2, epoch=2, amount=33))
    assert (holder.follow(2), permitted(holder, 2.1)) == (1, 33)
    assert not holder.take(grant(51, 2, epoch=1))


def test_a_grant_that_answers_what_was_never_sent_is_refused() -> None:
    holder = Holder(0.0)
    assert not holder.take(grant(1, 9))


def test_a_grant_holds_what_changed_since_an_earlier_one_that_was_taken() -> None:
    holder = Holder(0.0)
    for seq in (1, 2, 3, 4):
        holder.sent(seq, float(seq))
    stamp = Stamp(1, 1, 0)
    assert holder.take(grant(1, 1))
    assert holder.take(LeaseGrant(stamp, 2, 2, 1, {"total": Lease(30, 25)}))
    assert (permitted(holder, 2.1), permitted(holder, 2.1, RATE)) == (30, 40)
    # The one that this builds upon was not taken.
    assert not holder.take(LeaseGrant(stamp, 4, 3, 3, {"total": Lease(20, 25)}))
    assert holder.heard_of(1, 2.5) == 2
    assert holder.take(LeaseGrant(stamp, 5, 4, 2, {"rate": None}))
    assert (permitted(holder, 4.1), permitted(holder, 4.1, RATE)) == (30, 0)
    assert (holder.heard_of(1, 4.5), holder.heard_of(2, 4.5), holder.heard_of(1, 5.5)) == (4, 0, 0)


def test_how_large_a_limit_is_where_it_is_found_is_what_was_told() -> None:
    holder = Holder(0.0)
    assert holder.whole(SLOTS) == 100
    holder.sent(1, 0.0)
    holder.take(LeaseGrant(Stamp(1, 1, 0), 1, 1, 0, {"total": Lease(4, 2, {}, 16), "rate": Lease(1, 1)}))
    assert (holder.whole(SLOTS), holder.whole(RATE)) == (16, 1000)
    # A reload has made it smaller, and no grant has come since.
    assert holder.whole(SLOTS._replace(amount=8)) == 8
