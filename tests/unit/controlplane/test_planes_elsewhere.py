"""Planes on other hosts: whom the control plane can only hear."""

from controlplane.planes import FOLDED_AFTER, LOST_AFTER, Planes
from shared.messages import Goodbye
from shared.plane_identity import PlaneIdentity
from tests.unit.controlplane.reports import identity, report


def far(name: str, *, slot: int = 0, started: float = 0.0, host: str = "gpu-b") -> PlaneIdentity:
    return PlaneIdentity(id=name, slot=slot, pid=7, version="0.1.0", started=started, host=host)


def local_looks_dead(plane: PlaneIdentity) -> bool:
    """No plane elsewhere has a process here."""
    return True


def test_no_process_here_does_not_mean_dead() -> None:
    planes = Planes()
    planes.counters(report(far("a"), active=2), now=0.0)
    planes.counters(report(identity("b"), active=2), now=0.0)
    assert [plane.identity.id for plane in planes.fold_silent(3.0, local_looks_dead)] == ["b"]
    assert planes.fold_silent(FOLDED_AFTER, local_looks_dead) == ()
    assert [plane.identity.id for plane in planes.present()] == ["a"]
    # Its requests may well go on.
    assert planes.totals().active == 2


def test_the_next_one_in_its_place_shows_that_it_died() -> None:
    planes = Planes()
    planes.counters(report(far("old", started=1.0)), now=0.0)
    planes.counters(report(far("other-slot", slot=1, started=5.0)), now=0.0)
    planes.counters(report(far("other-host", host="gpu-c", started=5.0)), now=0.0)
    for name in ("other-slot", "other-host"):
        planes.hear(far(name, slot=int(name == "other-slot"), host="gpu-c" if "host" in name else "gpu-b"), now=4.0)
    assert planes.fold_silent(4.0, local_looks_dead) == ()
    planes.hear(far("new", started=9.0), now=5.0)
    assert [plane.identity.id for plane in planes.fold_silent(5.0, local_looks_dead)] == ["old"]
    # One that is being replaced, and still speaks, is none of these.
    planes.hear(far("newer", started=10.0), now=6.0)
    planes.hear(far("new", started=9.0), now=6.0)
    assert planes.fold_silent(6.5, local_looks_dead) == ()


def test_one_that_is_silent_for_long_is_given_up_and_comes_back_all_the_same() -> None:
    planes = Planes()
    planes.counters(report(far("a"), finished=3), now=0.0)
    assert planes.fold_silent(LOST_AFTER - 1, local_looks_dead) == ()
    assert len(planes.present()) == 1
    assert len(planes.fold_silent(LOST_AFTER, local_looks_dead)) == 1
    assert planes.present() == ()
    planes.counters(report(far("a"), finished=4), now=LOST_AFTER + 1)
    assert len(planes.present()) == 1
    assert planes.totals().counters["finished_requests"][()] == 4


def test_how_many_there_are() -> None:
    planes = Planes()
    assert planes.elsewhere() == 0
    planes.hear(identity("here"), now=0.0)
    planes.hear(far("a"), now=0.0)
    planes.hear(far("b", slot=1), now=0.0)
    assert planes.elsewhere() == 2
    planes.said_goodbye(Goodbye(far("b", slot=1), {}), now=1.0)
    assert planes.elsewhere() == 1
    planes.fold_silent(FOLDED_AFTER, lambda plane: False)
    assert planes.elsewhere() == 0


def test_a_new_control_plane_goes_on_with_those_that_there_were() -> None:
    before = Planes()
    before.counters(report(identity("here"), finished=1), now=0.0)
    before.counters(report(far("a"), finished=2, active=1), now=0.0)
    planes = Planes()
    planes.restore(*before.kept(), alive=(), now=100.0)
    # The plane here has ended; of the other one nobody can tell yet.
    assert [plane.identity.id for plane in planes.present()] == ["a"]
    assert planes.elsewhere() == 1
    assert (planes.totals().counters["finished_requests"][()], planes.totals().active) == (3, 1)
    planes.fold_silent(100.0 + FOLDED_AFTER, local_looks_dead)
    assert planes.elsewhere() == 0
    assert planes.totals().counters["finished_requests"][()] == 3


def test_places_are_shown_by_host() -> None:
    planes = Planes()
    for plane in (far("c", slot=1), far("b"), identity("a", slot=3)):
        planes.hear(plane, now=0.0)
    assert [plane.identity.label for plane in planes.present()] == ["3", "gpu-b/0", "gpu-b/1"]
