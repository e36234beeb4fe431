"""How a plane knows a look at a worker that comes from its own router, which would else be a worker of its own.

Such a router would send each request to itself for ever. The mark names the epochs of the control plane's tables: this
life's, and the one's before, from which planes may still serve.
"""

from __future__ import annotations

from collections.abc import Iterable

PROBE_HEADER = "x-routerctl-probe"
_FIELD = PROBE_HEADER.encode()
LOOP_DETECTED = 508
"""The status by which a plane says so (RFC 5842 section 7.2)."""


def mark_of(epochs: Iterable[int]) -> str:
    """Return the mark of a control plane."""
    return " ".join(map(str, epochs))


def is_own_probe(fields: dict[bytes, bytes], epoch: int) -> bool:
    """Whether a request's fields have the mark of the control plane whose table has that epoch."""
    told = fields.get(_FIELD)
    return told is not None and b"%d" % epoch in told.split()
