"""Two hosts with one name are told from a plane and its successor."""

import msgspec

from controlplane.namesakes import DOUBTED_AFTER, namesakes
from controlplane.planes import Planes
from shared.plane_identity import PlaneIdentity
from tests.unit.controlplane.reports import identity, report


def far(name: str, slot: int = 0, host: str = "gpu-b") -> PlaneIdentity:
    return PlaneIdentity(id=name, slot=slot, pid=7, version="0.1.0", started=0.0, host=host)


def heard(*identities: PlaneIdentity, until: float) -> Planes:
    planes = Planes()
    for one in identities:
        planes.hear(one, now=0.0)
        planes.hear(one, now=until)
    return planes


def test_two_that_live_on_in_one_place_are_named() -> None:
    planes = heard(far("a"), far("b"), far("c", slot=1), far("d", host="gpu-c"), until=DOUBTED_AFTER)
    assert namesakes(planes.present(), DOUBTED_AFTER - 1) == frozenset()
    assert namesakes(planes.present(), DOUBTED_AFTER) == {"gpu-b"}


def test_a_plane_and_its_successor_are_not() -> None:
    planes = heard(far("old"), far("new"), until=DOUBTED_AFTER - 10)
    # The old one has ended.
    planes.hear(far("new"), now=DOUBTED_AFTER)
    assert namesakes(planes.present(), DOUBTED_AFTER) == frozenset()
    # Or it drains, for as long as its requests take.
    planes = heard(far("old"), far("new"), until=DOUBTED_AFTER)
    planes.counters(msgspec.structs.replace(report(far("old")), draining=True), now=DOUBTED_AFTER)
    assert namesakes(planes.present(), DOUBTED_AFTER) == frozenset()


def test_planes_of_this_host_have_their_own_supervisor_to_tell_them_apart() -> None:
    planes = heard(identity("a"), identity("b"), until=DOUBTED_AFTER)
    assert namesakes(planes.present(), DOUBTED_AFTER) == frozenset()
