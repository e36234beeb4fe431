"""The book of leases, one rule at a time; what holds in all histories is in `test_lease_histories`."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest

from controlplane.admission.account import Grant
from controlplane.admission.ledger import FORGOTTEN_AFTER, Ledger
from controlplane.admission.limit_book import Set
from shared.leases import LEASE_LIFE, Holding, Lease, LeaseReport
from shared.limits import MARGIN, WINDOW, Kind, Limit
from shared.plane_identity import PlaneIdentity

EPOCH = 3
LONGEST = 10.0


class Planes:
    """Planes that report to a book, and go by its grants at once unless told otherwise."""

    def __init__(
        self,
        limit: int = 100,
        planes: int = 2,
        alive: tuple[str, ...] = (),
        kind: Kind = "slots",
        haunted_until: float = -inf,
    ) -> None:
        self.ledger = Ledger(EPOCH, alive, 0.0, haunted_until)
        self.ledger.use((Limit("total", kind, limit),), planes, LONGEST)
        self._seqs: dict[str, int] = {}
        self.held: dict[str, Grant] = {}
        self.leases: dict[str, Lease] = {}

    def tell(
        self, name: str, now: float, *, in_use: int = 0, needs: int = 0, epoch: int = EPOCH, anew: bool = False
    ) -> bool:
        self._seqs[name] = self._seqs.get(name, 0) + 1
        held = self.held.get(name)
        permitted = self.leases[name].amount if held else 0
        wants = ({"": in_use + needs},) if in_use + needs else ()
        report = LeaseReport(
            plane=PlaneIdentity(id=name, slot=0, pid=1, version="1", started=0.0),
            epoch=epoch,
            seq=self._seqs[name],
            applied=held.number if held else 0,
            waiting=needs,
            since=held.answers if held and not anew else 0,
            holdings={"total": Holding(in_use, permitted, 0, wants)},
            table=0,
        )
        return self.ledger.heard(report, now)

    def grant(self, now: float) -> dict[str, int]:
        """Return the amounts that are granted now, which their planes go by."""
        grants = self.ledger.due(now)
        for grant in grants:
            lease = grant.leases.get("total")
            if lease is not None:
                self.leases[grant.plane] = lease
            self.held[grant.plane] = grant
        return {grant.plane: self.leases[grant.plane].amount for grant in grants}


def test_the_first_plane_gets_its_share_at_once_and_the_rest_stays_for_those_to_come() -> None:
    planes = Planes()
    planes.tell("a", 0.0)
    assert planes.grant(0.0) == {"a": 50}
    planes.tell("b", 0.0)
    assert planes.grant(0.0)["b"] == 50


def test_what_a_plane_does_not_need_is_lent_when_it_has_told_that_it_goes_by_less() -> None:
    planes = Planes()
    planes.tell("a", 0.0)
    planes.tell("b", 0.0)
    assert planes.grant(0.0) == {"a": 50, "b": 50}
    planes.tell("b", 0.1, in_use=50, needs=100)
    # The smaller lease is under way: nothing is free yet.
    assert planes.grant(0.1) == {"a": 3}
    assert planes.grant(0.11) == {}
    planes.tell("a", 0.12)
    assert planes.grant(0.12)["b"] == 97


def test_what_is_in_use_counts_until_it_is_given_back() -> None:
    planes = Planes(planes=1)
    planes.tell("a", 0.0, in_use=0, needs=100)
    assert planes.grant(0.0) == {"a": 100}
    planes.tell("a", 0.1, in_use=100, needs=100)
    planes.tell("b", 0.1, needs=100)
    assert planes.grant(0.1) == {"a": 67, "b": 0}
    planes.tell("a", 0.2, in_use=90, needs=100)
    planes.tell("b", 0.2, needs=100)
    granted = planes.grant(0.2)
    assert granted["b"] == 10
    assert granted["a"] < 90


def test_a_dead_plane_held_nothing_any_more() -> None:
    planes = Planes()
    planes.tell("a", 0.0, needs=100)
    planes.tell("b", 0.0)
    planes.grant(0.0)
    planes.tell("b", 2.0, needs=200)
    assert planes.ledger.silent(2.0) == ("a",)
    before = planes.grant(2.0)["b"]
    assert planes.ledger.gone("a", 2.0)
    assert not planes.ledger.gone("a", 2.0)
    planes.tell("b", 2.1, needs=200)
    assert planes.grant(2.1)["b"] == 100
    assert before < 100


def test_a_silent_plane_keeps_what_it_had() -> None:
    planes = Planes()
    planes.tell("a", 0.0, in_use=10)
    planes.tell("b", 0.0)
    planes.grant(0.0)
    planes.tell("b", 50.0, needs=200)
    assert planes.grant(50.0)["b"] == 50


def test_a_new_book_lends_nothing_before_it_has_heard_all_that_lived() -> None:
    planes = Planes(alive=("a", "b"))
    planes.tell("a", 0.0, needs=200)
    assert planes.grant(0.0) == {"a": 0}
    planes.tell("b", 0.1)
    planes.tell("a", 0.1, needs=200)
    # The other one may take an equal share until it goes by a lease.
    assert planes.grant(0.1)["a"] == 50
    planes.tell("b", 0.2)
    assert planes.grant(0.2)["a"] == 97


def test_a_plane_that_lived_and_is_not_heard_is_thought_to_have_all_that_the_others_do_not() -> None:
    planes = Planes(alive=("a", "b"))
    now = LEASE_LIFE + 0.1
    planes.tell("a", now, in_use=10, needs=200)
    assert planes.grant(now) == {"a": 10}
    assert planes.ledger.silent(now) == ("b",)
    # By now its requests have ended, and it goes by its fallback.
    now += LONGEST + MARGIN
    planes.tell("a", now, in_use=10, needs=200)
    assert planes.grant(now) == {"a": 50}
    planes.ledger.gone("b", now)
    assert planes.grant(now) == {"a": 100}


def test_reports_of_an_earlier_control_plane_and_old_ones_tell_nothing() -> None:
    planes = Planes()
    assert not planes.tell("a", 0.0, epoch=EPOCH - 1)
    assert planes.tell("a", 0.0)
    planes._seqs["a"] = 0
    assert not planes.tell("a", 0.0)


def test_leases_are_renewed_when_the_plane_reports_and_not_else() -> None:
    planes = Planes()
    planes.tell("a", 0.0)
    planes.grant(0.0)
    assert planes.ledger.due(0.3) == ()
    planes.tell("a", 0.3)
    (grant,) = planes.ledger.due(0.3)
    assert (grant.plane, grant.answers, grant.since, grant.leases) == ("a", 2, 1, {})
    assert planes.ledger.due(0.3) == ()


def test_a_limit_for_fewer_than_there_are_planes_goes_round() -> None:
    planes = Planes(limit=1, planes=3)
    names = ("a", "b", "c")
    had = []
    for turn in range(60):
        now = turn * 0.05
        for name in names:
            held = planes.held.get(name)
            has = held is not None and planes.leases[name].amount
            if has:
                had.append(name)
            planes.tell(name, now, in_use=0, needs=5 if not has else 4)
        planes.grant(now)
    assert set(had) == set(names)


def test_many_grants_that_are_never_told_of_are_kept_within_bounds() -> None:
    planes = Planes()
    for turn in range(200):
        planes.held.clear()
        planes.tell("a", turn * 0.3, needs=turn % 7)
        planes.ledger.due(turn * 0.3)
    assert len(planes.ledger._accounts["a"].sent) <= 16
    assert all(len(part.sent) <= 16 for part in planes.ledger._books["total"]._parts.values())
    assert planes.ledger.lent("total", 60.0) >= 50


def test_what_a_dead_plane_may_have_taken_of_a_window_counts_until_that_is_over() -> None:
    planes = Planes(kind="window")
    planes.tell("a", 0.0)
    planes.tell("b", 0.0)
    assert planes.grant(0.0) == {"a": 50, "b": 50}
    planes.ledger.gone("a", 0.5)
    planes.tell("b", 0.5, needs=200)
    assert planes.grant(0.5) == {"b": 50}
    for now in (0.5 + WINDOW, 1.0 + WINDOW):
        planes.tell("b", now, needs=200)
        assert planes.grant(now) == {"b": 50 if now < 1.0 + WINDOW else 100}


def test_of_a_plane_that_ends_only_what_it_took_of_a_window_counts_on() -> None:
    planes = Planes(kind="window")
    planes.tell("a", 0.0)
    planes.tell("b", 0.0)
    assert planes.grant(0.0) == {"a": 50, "b": 50}
    assert planes.ledger.ended("a", {"total": {2: 3, 12: 4}, "unknown": {1: 1}}, 0.5)
    for now, granted in ((0.5, 93), (10.9, 93), (11.0, 96), (60.9, 96), (61.0, 100)):
        planes.tell("b", now, needs=200)
        assert planes.grant(now) == {"b": granted}


def test_so_it_is_where_the_control_plane_has_heard_nothing_else_of_it() -> None:
    planes = Planes(kind="window", alive=("a", "b"))
    assert planes.ledger.ended("a", {"total": {12: 4}}, 0.1)
    for now in (0.2, 0.3, 0.4):
        planes.tell("b", now, needs=200)
        planes.grant(now)
    assert planes.leases["b"].amount == 96


def test_a_window_may_have_been_used_by_planes_that_died_before_the_book_began() -> None:
    planes = Planes(kind="window", alive=("a",), haunted_until=40.0)
    planes.tell("a", 0.0, in_use=30, needs=200)
    planes.tell("c", 0.0, needs=200)
    assert sum(planes.grant(0.0).values()) <= 30
    for now in (40.1, 40.2, 40.3):
        planes.tell("a", now, in_use=30, needs=200)
        planes.tell("c", now, needs=200)
        planes.grant(now)
    assert sum(lease.amount for lease in planes.leases.values()) == 100


def test_a_plane_that_was_thought_dead_and_speaks_still_goes_by_the_lease_that_it_had() -> None:
    planes = Planes()
    planes.tell("a", 0.0, needs=200)
    planes.tell("b", 0.0)
    planes.grant(0.0)
    planes.tell("b", 0.1)
    assert planes.grant(0.1)["a"] == 97
    planes.ledger.gone("a", 0.1)
    planes.tell("a", 0.1, in_use=5, anew=True)
    planes.tell("b", 0.1, needs=200)
    planes.grant(0.1)
    assert sum(lease.amount for lease in planes.leases.values()) <= 100
    assert planes.ledger.lent("total", 0.1) <= 100


def test_a_plane_that_has_lost_its_leases_is_not_given_back_what_others_took_meanwhile() -> None:
    """All were cut off for so long that each goes by its fallback."""
    ledger = Ledger(EPOCH, (), 0.0)
    ledger.use((Limit("total", "slots", 10),), 2, LONGEST)
    ledger.heard(report("a", 1, {"total": Holding(9, 0, 5, ({"": 9},))}), 0.0)
    (grant,) = ledger.due(0.0)
    assert grant.leases["total"] == Lease(10, 5, {}, 10)
    ledger.heard(report("b", 1, {"total": Holding(0, 0, 5, ())}), 0.1)
    (other,) = (one for one in ledger.due(0.1) if one.plane == "b")
    ledger.heard(report("b", 2, {"total": Holding(5, 5, 5, ({"": 5},))}, applied=other.number), 60.0)
    ledger.due(60.0)
    ledger.heard(report("a", 2, {"total": Holding(0, 5, 5, ({"": 9},))}, applied=grant.number), 60.1)
    (again,) = (one for one in ledger.due(60.1) if one.plane == "a")
    assert again.since == 0
    assert (lease := again.leases["total"]) is not None
    assert lease.amount == 5


def test_one_to_which_a_grant_is_on_its_way_may_go_by_all_that_it_had() -> None:
    planes = Planes(planes=1)
    planes.tell("a", 0.0, needs=100)
    assert planes.grant(0.0) == {"a": 100}
    planes.tell("a", 1.1)
    assert len(planes.ledger.due(1.1)) == 1
    planes.ledger.heard(report("a", 3, {"total": Holding(0, 9, 9, ())}, applied=1), 1.2)
    assert planes.ledger.lent("total", 1.2) == 100


MANY = tuple(Limit(f"worker:{number}", "slots", 9) for number in range(1000))


def turns(ledger: Ledger, now: float) -> list[tuple[Grant, ...]]:
    """Return what is granted in each turn until there is nothing more to do."""
    found = [ledger.due(now)]
    while ledger.is_behind:
        found.append(ledger.due(now))
    return found


def test_of_many_limits_a_part_is_decided_about_at_a_time_and_the_oldest_first() -> None:
    ledger = Ledger(EPOCH, (), 0.0)
    ledger.use(MANY, 2, LONGEST)
    holdings = {limit.name: Holding(1, 0, 4, ({"": 1},)) for limit in MANY}
    ledger.heard(report("a", 1, holdings), 0.0)
    ledger.heard(report("b", 1, holdings), 0.0)
    *before, last = turns(ledger, 0.0)
    # The first grant of a plane takes the place of all that it has, so it is whole.
    assert not any(before)
    assert [(grant.plane, len(grant.leases)) for grant in last] == [("a", 1000), ("b", 1000)]
    for seq, grant in enumerate(last, start=1):
        ledger.heard(report(grant.plane, 2, {}, since=1, applied=seq), 0.01)
    turns(ledger, 0.01)
    ledger.use([limit._replace(amount=30) for limit in MANY], 2, LONGEST)
    of_one = [len(grant.leases) for grants in turns(ledger, 0.02) for grant in grants if grant.plane == "a"]
    # Each grant holds what changed since the last one that is gone by.
    assert of_one == [*range(64, 1000, 64), 1000]
    # Whatever happens to one again and again, the others' turn comes.
    ledger.use([limit._replace(amount=31) for limit in MANY], 2, LONGEST)
    for turn in range(1000 // 64 + 1):
        first = {"worker:0": Holding(turn % 3, 0, 4, ({"": 1},))}
        ledger.heard(report("a", 3 + turn, first, since=2, applied=1), 0.03)
        grants = ledger.due(0.03)
    assert {lease.whole for grant in grants for lease in grant.leases.values() if lease} == {31}
    assert {len(grant.leases) for grant in grants} == {1000}


def test_when_all_leases_of_many_limits_lapse_at_once_each_is_decided_about_in_its_turn() -> None:
    ledger = Ledger(EPOCH, (), 0.0)
    ledger.use(MANY, 2, LONGEST)
    holdings = {limit.name: Holding(1, 0, 4, ({"": 1},)) for limit in MANY}
    for plane in ("a", "b"):
        ledger.heard(report(plane, 1, holdings), 0.0)
    *_, (one, other) = turns(ledger, 0.0)
    ledger.heard(report("a", 2, holdings, applied=one.number), 2.0)
    assert ledger.due(2.0) == ()
    ledger.heard(report("b", 2, holdings, applied=other.number), 2.01)
    granted = turns(ledger, 2.01)
    # Whoever came first has waited for the turns of half as many; nobody waits for ever.
    assert len(granted) <= 2 * (1000 // 64 + 1)
    assert sorted((grant.plane, grant.since, len(grant.leases)) for grants in granted for grant in grants) == [
        ("a", 0, 1000),
        ("b", 0, 1000),
    ]


NEW = ("total", "model:m", "worker:w", "key:k:open")


@pytest.mark.parametrize("name", NEW)
def test_a_limit_that_is_new_is_lent_once_every_plane_has_told_what_it_has_of_it(name: str) -> None:
    """Requests may be open before there is a limit."""
    ledger, rate = Ledger(EPOCH, (), 0.0), Limit("rate", "rate", 100)
    ledger.use((rate,), 2, LONGEST, was_set=Set(1, 0.0))
    for plane in ("a", "b"):
        ledger.heard(report(plane, 1, {}, table=1), 0.0)
    ledger.due(0.0)
    ledger.use((rate, Limit(name, "slots", 10)), 2, LONGEST, was_set=Set(2, 0.05))
    ledger.heard(report("a", 2, {name: Holding(0, 0, 5, ({"": 9},))}, since=1, applied=1, table=2), 0.1)
    assert not any((lease := grant.leases.get(name)) and lease.amount for grant in ledger.due(0.1))
    # It tells of something else, as it has not heard of this one.
    ledger.heard(report("b", 2, {}, since=1, applied=2, table=1), 0.15)
    assert not any((lease := grant.leases.get(name)) and lease.amount for grant in ledger.due(0.15))
    ledger.heard(report("b", 3, {name: Holding(10, 0, 5, ({"": 10},))}, since=1, applied=2, table=2), 0.2)
    grants = {grant.plane: lease for grant in ledger.due(0.2) if (lease := grant.leases.get(name))}
    assert {plane: lease.amount for plane, lease in grants.items()} == {"b": 5}, "a keeps nothing"


@pytest.mark.parametrize("name", NEW)
def test_so_is_one_of_which_the_others_have_nothing(name: str) -> None:
    ledger = Ledger(EPOCH, (), 0.0)
    ledger.use((Limit(name, "slots", 10),), 2, LONGEST, was_set=Set(1, 0.0), present=("a", "b"))
    ledger.heard(report("a", 1, {name: Holding(3, 0, 5, ({"": 9},))}, table=1), 0.1)
    assert [grant.leases[name] for grant in ledger.due(0.1)] == [Lease(3, 5, {}, 10)], "it keeps what it has"
    ledger.heard(report("b", 1, {}, table=1), 0.2)
    granted = {grant.plane: lease.amount for grant in ledger.due(0.2) if (lease := grant.leases.get(name))}
    assert granted["a"] > 3


@pytest.mark.parametrize("ends", [Ledger.gone, lambda ledger, plane, now: ledger.ended(plane, {}, now)])
def test_a_plane_that_has_ended_has_nothing_to_tell_any_more(ends: Callable[[Ledger, str, float], bool]) -> None:
    ledger = Ledger(EPOCH, (), 0.0)
    ledger.use((Limit("total", "slots", 10),), 2, LONGEST, was_set=Set(1, 0.0), present=("a", "b"))
    ledger.heard(report("a", 1, {"total": Holding(0, 0, 5, ({"": 9},))}, table=1), 0.1)
    ledger.due(0.1)
    ends(ledger, "b", 0.2)
    ledger.look(0.2)
    assert [grant.leases["total"] for grant in ledger.due(0.2)] == [Lease(10, 5, {}, 10)]


@pytest.mark.parametrize("present", [(), ("b",)])
def test_one_that_a_plane_does_not_tell_of_is_lent_when_its_leases_have_ended(present: tuple[str, ...]) -> None:
    planes = Planes()
    for name in ("a", "b"):
        planes.tell(name, 0.0)
    planes.grant(0.0)
    new = Limit("worker:w", "slots", 10)
    planes.ledger.use((new,), 2, LONGEST, was_set=Set(2, 0.05), present=present)
    wanted = {"worker:w": Holding(0, 0, 5, ({"": 9},))}
    planes.ledger.heard(report("a", 2, wanted, since=1, applied=1, table=2), 0.1)
    planes.ledger.due(0.1)
    planes.ledger.heard(report("a", 3, {}, since=2, applied=3, table=2), 1.0)
    for name, seq in (("a", 4), ("b", 2)):
        planes.ledger.heard(report(name, seq, {}, since=1, applied=3), 1.3)
    planes.ledger.look(1.3)
    granted = {grant.plane: grant.leases.get("worker:w") for grant in planes.ledger.due(1.3)}
    assert granted["a"] is not None
    assert granted["a"].amount == 5


def test_one_that_was_taken_away_is_new_when_it_is_set_again() -> None:
    ledger, total = Ledger(EPOCH, (), 0.0), Limit("total", "slots", 10)
    ledger.use((total,), 2, LONGEST, was_set=Set(1, 0.0))
    for plane in ("a", "b"):
        ledger.heard(report(plane, 1, {"total": Holding(0, 0, 5, ())}, table=1), 0.0)
    ledger.due(0.0)
    ledger.use((), 2, LONGEST, was_set=Set(2, 0.05))
    ledger.use((total,), 2, LONGEST, was_set=Set(3, 0.1))
    ledger.heard(report("a", 2, {"total": Holding(0, 0, 5, ({"": 9},))}, since=1, applied=1, table=3), 0.1)
    assert not any((lease := grant.leases.get("total")) and lease.amount > 5 for grant in ledger.due(0.1))
    ledger.heard(report("b", 2, {"total": Holding(0, 0, 5, ())}, since=1, applied=2, table=3), 0.2)
    assert {grant.plane for grant in ledger.due(0.2)} >= {"a"}


def report(
    name: str, seq: int, holdings: dict[str, Holding], *, since: int = 0, applied: int = 0, table: int = 0
) -> LeaseReport:
    identity = PlaneIdentity(id=name, slot=0, pid=1, version="1", started=0.0)
    return LeaseReport(identity, EPOCH, seq, applied, 0, since, holdings, table)


def ledger_of(*names: str) -> Ledger:
    ledger = Ledger(EPOCH, (), 0.0)
    ledger.use([Limit(name, "slots", 100) for name in names], 2, LONGEST)
    return ledger


def wanted(count: int) -> Holding:
    return Holding(0, 0, 50, ({"": count},))


def test_a_limit_that_one_plane_reports_is_lent_to_all_and_others_are_not() -> None:
    ledger = ledger_of("key:a:open", "key:b:open", "key:c:open")
    ledger.heard(report("one", 1, {"key:a:open": wanted(3)}), 0.0)
    ledger.heard(report("two", 1, {}), 0.0)
    for grant in ledger.due(0.0):
        assert list(grant.leases) == ["key:a:open"]
    ledger.heard(report("two", 2, {"key:b:open": wanted(1)}, since=1, applied=2), 0.3)
    ledger.heard(report("one", 2, {}, since=1, applied=1), 0.3)
    grants = {grant.plane: grant for grant in ledger.due(0.3)}
    assert {name: list(grant.leases) for name, grant in grants.items()} == {
        "one": ["key:b:open"],
        "two": ["key:b:open"],
    }
    assert (grants["one"].since, grants["two"].since) == (1, 2)


def test_a_grant_holds_again_what_one_held_that_was_not_taken() -> None:
    ledger = ledger_of("key:a:open", "key:b:open")
    ledger.heard(report("one", 1, {"key:a:open": wanted(3)}), 0.0)
    ledger.due(0.0)
    ledger.heard(report("one", 2, {"key:b:open": wanted(3)}, since=0), 0.1)
    (grant,) = ledger.due(0.1)
    assert (grant.since, set(grant.leases)) == (0, {"key:a:open", "key:b:open"})


def test_what_builds_upon_a_report_that_was_never_heard_is_not_taken() -> None:
    ledger = ledger_of("total")
    assert not ledger.heard(report("one", 7, {"total": wanted(3)}, since=6), 0.0)
    assert ledger.due(0.0) == ()
    assert ledger.heard(report("one", 8, {"total": wanted(3)}), 0.0)


def test_a_key_s_limit_that_nobody_needs_for_a_minute_is_taken_back_and_forgotten() -> None:
    ledger = ledger_of("total", "key:a:open")
    nothing = Holding(0, 0, 50, ())
    ledger.heard(report("one", 1, {"total": nothing, "key:a:open": wanted(3)}), 0.0)
    (first,) = ledger.due(0.0)
    now = 0.3
    ledger.heard(report("one", 2, {"key:a:open": nothing}, since=1, applied=first.number), now)
    ledger.due(now)
    now += FORGOTTEN_AFTER
    ledger.look(now)
    ledger.heard(report("one", 3, {}, since=2, applied=first.number), now)
    (grant,) = ledger.due(now)
    assert grant.leases["key:a:open"] is None
    assert "total" in ledger._books
    ledger.heard(report("one", 4, {"key:a:open": Holding(0, 0, 0, ())}, since=3, applied=grant.number), now)
    ledger.due(now)
    assert set(ledger._books) == {"total"}


def test_a_plane_that_is_cut_off_counts_with_an_equal_share_of_what_it_was_never_lent() -> None:
    ledger = ledger_of("key:a:open")
    ledger.heard(report("cut off", 1, {}), 0.0)
    (grant,) = ledger.due(0.0)
    ledger.heard(report("cut off", 2, {}, since=1, applied=grant.number), 0.1)
    now = 10.0
    for seq in range(1, 4):
        now += 0.3
        holding = Holding(0, 0, 50, ({"": 200},))
        ledger.heard(report("one", seq, {"key:a:open": holding}, applied=ledger._number), now)
        ledger.due(now)
    assert ledger.lent("key:a:open", now) == 100
    lease = ledger._accounts["one"].leases.get("key:a:open")
    assert lease == Lease(50, 50, {}, 100)


def test_a_limit_that_is_no_more_is_taken_back() -> None:
    ledger = ledger_of("total", "model:m")
    ledger.heard(report("one", 1, {"total": wanted(1), "model:m": wanted(1)}), 0.0)
    ledger.due(0.0)
    ledger.use([Limit("total", "slots", 100)], 2, LONGEST)
    ledger.heard(report("one", 2, {}, since=1, applied=1), 0.3)
    (grant,) = ledger.due(0.3)
    assert grant.leases == {"model:m": None}
