"""What a key does: a machine without a terminal. A change of the fleet is only wished for after it was confirmed."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from controlplane.top.snapshot import Snapshot
from controlplane.top.view import ORDERS, Verb, View, Wish, place_of, shown

PAGE = 10
"""Workers."""
MAX_FILTER = 60
"""Characters."""

KEYS = (
    ("q, Ctrl-C", "quit"),
    ("up down, j k", "choose a worker; page up, page down, home and end, too"),
    ("s, S", f"sort by {', '.join(ORDERS)}; S: the one before"),
    ("r", "turn the order around"),
    ("/", "list only those with a text in address, role, state, model..."),
    ("d", "drain it: no new requests, open ones go on (asks first)"),
    ("u", "undrain it (asks first)"),
    ("p", "hold the picture, or go on"),
    ("?, h", "this help"),
)
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -PAGE, "page down": PAGE}


class Turn(NamedTuple):
    """What a key came to: the next view, whether to quit, and what is to be changed."""

    view: View
    is_over: bool = False
    wish: Wish | None = None


def pressed(view: View, key: str, snapshot: Snapshot | None) -> Turn:
    """Return what a key does."""
    if key == "ctrl-c":
        return Turn(view, is_over=True)
    match view.mode:
        case "confirm":
            return _confirmed(view, key)
        case "filter":
            return Turn(_filtered(view, key))
        case "help":
            return Turn(replace(view, mode="list"), is_over=key == "q")
    return _listed(replace(view, message=""), key, snapshot)


def _confirmed(view: View, key: str) -> Turn:
    done = replace(view, mode="list", asked=None)
    if key in ("y", "Y") and view.asked is not None:
        return Turn(replace(done, message=f"{view.asked.verb} {view.asked.worker} ..."), wish=view.asked)
    # Whoever types something else has not said yes.
    return Turn(replace(done, message="nothing was changed"))


def _filtered(view: View, key: str) -> View:
    if key == "enter":
        return replace(view, mode="list")
    if key == "escape":
        return replace(view, mode="list", filter="")
    if key == "backspace":
        return replace(view, filter=view.filter[:-1])
    if len(key) == 1 and len(view.filter) < MAX_FILTER:
        return replace(view, filter=view.filter + key)
    return view


def _listed(view: View, key: str, snapshot: Snapshot | None) -> Turn:
    if key == "q":
        return Turn(view, is_over=True)
    if key in ("?", "h"):
        return Turn(replace(view, mode="help"))
    if key == "/":
        return Turn(replace(view, mode="filter"))
    if key == "escape":
        return Turn(replace(view, filter=""))
    if key == "p":
        return Turn(replace(view, is_paused=not view.is_paused))
    if key == "r":
        return Turn(replace(view, is_reversed=not view.is_reversed))
    if key in ("s", "S"):
        names = list(ORDERS)
        step = 1 if key == "s" else -1
        return Turn(replace(view, order=names[(names.index(view.order) + step) % len(names)]))
    return _at_worker(view, key, snapshot) if snapshot is not None else Turn(view)


def _at_worker(view: View, key: str, snapshot: Snapshot) -> Turn:
    workers = shown(snapshot, view)
    if not workers:
        return Turn(view)
    place = place_of(workers, view.chosen)
    if key in _STEPS:
        place += _STEPS[key]
    elif key == "home":
        place = 0
    elif key == "end":
        place = len(workers) - 1
    elif key in ("d", "u"):
        verb: Verb = "drain" if key == "d" else "undrain"
        # The worker that is seen now: it must not change while its user reads.
        worker = workers[place].id
        return Turn(replace(view, mode="confirm", chosen=worker, asked=Wish(verb, worker)))
    else:
        return Turn(view)
    return Turn(replace(view, chosen=workers[min(max(place, 0), len(workers) - 1)].id))
