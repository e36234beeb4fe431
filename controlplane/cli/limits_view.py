"""What `routerctl status` and `routerctl top` say of limits, and of who waits for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from controlplane.cli.texts import counted, shortened
from shared.limits import KEY

MOST_LINES = 8
FULL = 0.995
"""From this part on a limit is called full: planes tell of what is in use one after the other."""


class LimitView(msgspec.Struct, frozen=True, kw_only=True):
    """A limit; `in_use` is null where nothing is held, as of a rate. `wanted` is by tenant, the one with most first."""

    name: str
    kind: str
    amount: float
    in_use: float | None = None
    wanted: Mapping[str, float] = {}

    @property
    def fill(self) -> float:
        """The part of it that is taken; 0 where that is not known."""
        return (self.in_use or 0.0) / self.amount if self.amount else 0.0

    @property
    def most(self) -> str:
        """The limit itself, with its unit."""
        return f"{_number(self.amount)}{UNITS.get(self.kind, '')}"


UNITS = {"rate": "/s", "window": "/min"}


class AdmissionView(msgspec.Struct, frozen=True, kw_only=True):
    """The fullest limits, of which there are `more`, and how many requests wait."""

    limits: Sequence[LimitView] = ()
    more: int = 0
    waiting: int = 0


def limit_text(limit: LimitView) -> str:
    """Return a limit in few letters, such as `total 24/24`."""
    used = "" if limit.in_use is None else f"{_number(limit.in_use)}/"
    return f"{limit.name} {used}{limit.most}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def waiting_text(admission: AdmissionView) -> str:
    """Return who waits for what; empty where nobody does."""
    if not admission.waiting:
        return ""
    verb = "request waits" if admission.waiting == 1 else "requests wait"
    # Nobody waits for a place within a key's own limit.
    full = [limit for limit in admission.limits if limit.fill >= FULL and not limit.name.startswith(KEY)]
    parts = [f"{limit_text(limit)}{_wanted(limit)}" for limit in full[:2]]
    if len(full) > len(parts):
        parts.append(counted(len(full) - len(parts), "more limit", "more limits"))
    return f"{admission.waiting} {verb}" + (f"; full: {', '.join(parts)}" if parts else "")


def _wanted(limit: LimitView) -> str:
    told = wanted_text(limit)
    return f" (wanted: {told})" if told else ""


def wanted_text(limit: LimitView) -> str:
    """Return which clients want how much of a limit."""
    return ", ".join(f"{tenant} {_number(count)}" for tenant, count in limit.wanted.items())


def limit_rows(admission: AdmissionView, *, is_cut: bool = False) -> list[tuple[str, ...]]:
    """Return a line for each limit below their titles; nothing where none is set. `is_cut`: long names are."""
    if not admission.limits:
        return []
    rows = [
        (
            shortened(limit.name) if is_cut else limit.name,
            limit.most,
            "-" if limit.in_use is None else _number(limit.in_use),
            "-" if limit.in_use is None else f"{limit.fill:.0%}",
            wanted_text(limit) or "-",
        )
        for limit in admission.limits[:MOST_LINES]
    ]
    return [("LIMIT", "OF", "IN USE", "FULL", "WANTED BY"), *rows]


def limits_left_out(admission: AdmissionView) -> int:
    """Return how many limits `limit_rows` leaves out."""
    return admission.more + max(0, len(admission.limits) - MOST_LINES)
