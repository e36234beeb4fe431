"""Hosts with planes that go by one name: `routerctl plane` was started twice with it, and each hides the other.

None is refused: a plane and the one that replaces it have one place too, and to refuse the later of two would stop
a restart. So it is said, once they have lived beside each other for longer than a hand-over takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from controlplane.planes import Plane, place_of

DOUBTED_AFTER = 60.0
"""Seconds: new planes that have a table within this time replace the old ones, which then drain or end."""
_HEARD_WITHIN = 5.0
"""Seconds: a plane reports each second."""


def namesakes(planes: Iterable[Plane], now: float) -> frozenset[str]:
    """Return the names of other hosts under which two planes serve in one place. `now` is in monotonic seconds."""
    living = [plane for plane in planes if plane.identity.host and now - plane.heard <= _HEARD_WITHIN]
    settled = [plane for plane in living if now - plane.since >= DOUBTED_AFTER and not _is_draining(plane)]
    by_place = sorted(map(place_of, settled))
    return frozenset(host for (host, slot), other in pairwise(by_place) if (host, slot) == other)


def _is_draining(plane: Plane) -> bool:
    return plane.report is not None and plane.report.draining
