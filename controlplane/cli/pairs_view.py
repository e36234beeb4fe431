"""What `routerctl status` says of prefill and decode workers as pairs: nothing where all is well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

MOST_LINES = 8


class OpenPairView(msgspec.Struct, kw_only=True):
    """Two workers that `planes` leave out for each other; they are tried again in `seconds`."""

    prefill: str
    decode: str
    planes: int
    seconds: float


class PairView(msgspec.Struct, kw_only=True):
    """Why no prefill and decode worker are a pair (empty: some are), and those that are left out as one."""

    missing: str = ""
    open: Sequence[OpenPairView] = ()
    opened: int = 0


def pair_lines(pairs: PairView | None) -> Iterator[str]:
    """Yield the lines."""
    if pairs is None or not (pairs.missing or pairs.open):
        return
    yield ""
    if pairs.missing:
        yield f"no prefill worker can hand over to a decode worker: {pairs.missing}"
    for one in pairs.open[:MOST_LINES]:
        where = "1 plane" if one.planes == 1 else f"{one.planes} planes"
        when = f"in {one.seconds:.0f} s" if one.seconds else "by the next request"
        yield f"breaker of the pair {one.prefill}, {one.decode} is open on {where}; tried again {when}"
    if (more := max(pairs.opened, len(pairs.open)) - MOST_LINES) > 0:
        yield f"and {more} more pairs"
