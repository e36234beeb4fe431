"""What those who wait could use, where workers have limits. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from dataplane.admission.line import LaneKey, Line, Share
from dataplane.admission.worker_slots import Among

if TYPE_CHECKING:
    from dataplane.admission.ticket import Ticket


def with_room(line: Line[Ticket]) -> Iterator[tuple[LaneKey, int]]:
    """Yield the lanes, and how many wait in each, of those that have not begun and whose workers are not full."""
    room: dict[Hashable, bool] = {None: True}
    for key, count in line.lanes():
        if key.among not in room:
            among = line.first(key).among
            room[key.among] = among is None or among.have_room()
        if room[key.among] and not key.begun:
            yield key, count


def at_workers(line: Line[Ticket]) -> dict[str, Counter[Share]]:
    """Return how many requests of each class and tenant wait that could use a slot of each worker."""
    alike: dict[Among, Counter[Share]] = {}
    for key, count in line.lanes():
        if (among := line.first(key).among) is not None:
            alike.setdefault(among, Counter())[key.share] += count
    found: dict[str, Counter[Share]] = {}
    for among, counts in alike.items():
        for slots in among.limited():
            found.setdefault(slots.worker, Counter()).update(counts)
    return found
