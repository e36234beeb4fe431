"""Why a message to the discovery port counts for nothing: a handful of reasons, however many messages there are."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "network",
    "connections",
    "protocol",
    "oversized",
    "excess",
    "malformed",
    "type",
    "address",
    "sizes",
    "old",
    "conflict",
    "sender_limit",
    "limit",
]
"""The label of a metric, and the key of docs/discovery.md's table."""


class RefusedError(ValueError):
    """A message, or a connection, that counts for nothing. The text is for people and names what to change."""

    def __init__(self, reason: Reason, text: str) -> None:
        """`text` may hold what the sender wrote only as `shown` returns it."""
        super().__init__(text)
        self.reason: Reason = reason
        self.answer: bytes | None = None
        """What the sender is to be told, where it asked."""


def shown(text: str) -> str:
    """Return what a stranger wrote as it may stand in a log: short, in one line, quoted."""
    return ascii(text[:64])
