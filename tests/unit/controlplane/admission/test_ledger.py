"""The book of leases, one rule at a time; what holds in all histories is in `test_lease_histories`."""

from __future__ import annotations

from math import inf

from controlplane.admission.ledger import Grant, Ledger
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

    def tell(self, name: str, now: float, *, in_use: int = 0, needs: int = 0, epoch: int = EPOCH) -> bool:
        self._seqs[name] = self._seqs.get(name, 0) + 1
        held = self.held.get(name)
        permitted = held.leases["total"].amount if held else 0
        wants = ({"": in_use + needs},) if in_use + needs else ()
        report = LeaseReport(
            plane=PlaneIdentity(id=name, slot=0, pid=1, version="1", started=0.0),
            epoch=epoch,
            seq=self._seqs[name],
            applied=held.number if held else 0,
            waiting=needs,
            holdings={"total": Holding(in_use, permitted, 0, wants)},
        )
        return self.ledger.heard(report, now)

    def grant(self, now: float) -> dict[str, int]:
        """Return the amounts that are granted now, which their planes go by."""
        grants = self.ledger.due(now)
        self.held.update({grant.plane: grant for grant in grants})
        return {grant.plane: grant.leases["total"].amount for grant in grants}


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
    assert planes.grant(0.1)["a"] == 97


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
    assert (grant.plane, grant.answers, grant.leases) == ("a", 2, {"total": Lease(50, 50)})
    assert planes.ledger.due(0.3) == ()


def test_a_limit_for_fewer_than_there_are_planes_goes_round() -> None:
    planes = Planes(limit=1, planes=3)
    names = ("a", "b", "c")
    had = []
    for turn in range(60):
        now = turn * 0.05
        for name in names:
            held = planes.held.get(name)
            has = held is not None and held.leases["total"].amount
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


def test_a_window_may_have_been_used_by_planes_that_died_before_the_book_began() -> None:
    planes = Planes(kind="window", alive=("a",), haunted_until=40.0)
    planes.tell("a", 0.0, in_use=30, needs=200)
    planes.tell("c", 0.0, needs=200)
    assert sum(planes.grant(0.0).values()) <= 30
    for now in (40.1, 40.2, 40.3):
        planes.tell("a", now, in_use=30, needs=200)
        planes.tell("c", now, needs=200)
        planes.grant(now)
    assert sum(grant.leases["total"].amount for grant in planes.held.values()) == 100


def test_a_plane_that_was_thought_dead_and_speaks_still_goes_by_the_lease_that_it_had() -> None:
    planes = Planes()
    planes.tell("a", 0.0, needs=200)
    planes.tell("b", 0.0)
    assert planes.grant(0.0)["a"] == 97
    planes.ledger.gone("a", 0.1)
    planes.tell("a", 0.1, in_use=5)
    planes.tell("b", 0.1, needs=200)
    planes.grant(0.1)
    assert sum(grant.leases["total"].amount for grant in planes.held.values()) <= 100
    assert planes.ledger.lent("total", 0.1) <= 100
