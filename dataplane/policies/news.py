"""Reading what another plane's policy has learnt."""

from __future__ import annotations

from array import array

from shared.messages import MAX_LEARNT, Learnt


def hashes_of(told: Learnt) -> array[int]:
    """Return the hashes; no more of them than a report may have, whoever sent it."""
    return array("Q", told.hashes[: 8 * min(MAX_LEARNT, len(told.hashes) // 8)])
