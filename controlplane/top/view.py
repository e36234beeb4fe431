"""What its user chose: which worker, in which order, which of them; and what is asked of him."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec

from controlplane.condition import condition
from controlplane.top.snapshot import Snapshot, Worker

Mode = Literal["list", "help", "filter", "confirm"]
Verb = Literal["drain", "undrain"]
_SHORT = {"breaker open": "brk open", "breaker half-open": "brk half"}
ROLES = ("prefill", "decode", "regular")


class Wish(NamedTuple):
    """A change of the fleet that was confirmed."""

    verb: Verb
    worker: str


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `chosen` is a worker's id, `asked` what is to be confirmed, `message` what came of the last order."""

    mode: Mode = "list"
    order: str = "name"
    is_reversed: bool = False
    filter: str = ""
    chosen: str = ""
    asked: Wish | None = None
    message: str = ""
    is_paused: bool = False


def state_of(worker: Worker) -> str:
    """Return the one word for how a worker stands (`controlplane.condition`), short enough for a column."""
    word = condition(worker.state, worker.breaker.state, is_drained=worker.drained)
    return _SHORT.get(word, word)


def busyness(worker: Worker) -> float:
    """Return how many requests a worker has: those that its engine tells of, else those sent to it."""
    own = worker.load.running + worker.load.waiting if worker.load is not None else 0.0
    return max(own, float(worker.inflight))


def _rate(worker: Worker) -> float:
    return worker.traffic.requests if worker.traffic is not None else 0.0


def _first_byte(worker: Worker) -> float:
    times = worker.traffic.first_byte if worker.traffic is not None else None
    return times.p50 if times is not None else 0.0


ORDERS: dict[str, Callable[[Worker], float]] = {
    "name": lambda _: 0.0,
    "load": lambda worker: -busyness(worker),
    "rate": lambda worker: -_rate(worker),
    "first": lambda worker: -_first_byte(worker),
    "kv": lambda worker: -(worker.load.kv_usage if worker.load is not None else 0.0),
    "state": lambda worker: float(state_of(worker) == "ready"),
}
"""What comes first is smallest; equal ones are in the order of their names."""


def shown(snapshot: Snapshot, view: View) -> list[Worker]:
    """Return the workers that are listed, in their order: by role, then by what was chosen."""
    found = [worker for worker in snapshot.status.workers if _matches(worker, view.filter)]
    key = ORDERS[view.order]
    found.sort(key=_name)
    found.sort(key=key, reverse=view.is_reversed)
    if view.is_reversed and view.order == "name":
        found.reverse()
    found.sort(key=lambda worker: ROLES.index(worker.role) if worker.role in ROLES else len(ROLES))
    return found


def place_of(workers: Sequence[Worker], chosen: str) -> int:
    """Return the place of the chosen worker; that of the first one where it is not listed."""
    return next((place for place, worker in enumerate(workers) if worker.id == chosen), 0)


def _matches(worker: Worker, text: str) -> bool:
    labels = (f"{name}={value}" for name, value in worker.labels.items())
    told = (worker.id, worker.role, state_of(worker), *(worker.models or ()), *labels)
    return not text or any(text.lower() in one.lower() for one in told)


def _name(worker: Worker) -> tuple[str | int, ...]:
    """Return a key by which 10.0.0.9 comes before 10.0.0.10."""
    parts: list[str | int] = []
    number = ""
    for letter in worker.id:
        if letter.isascii() and letter.isdigit():
            number += letter
            continue
        # Texts and numbers by turns, so that like is compared with like.
        parts += [int(number or "0"), letter]
        number = ""
    return (*parts, int(number or "0"))
