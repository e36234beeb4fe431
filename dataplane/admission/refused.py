"""Why a request neither goes on nor waits."""

from __future__ import annotations

from dataplane.admission.key_limits import Use
from dataplane.admission.quota import Quota, Slots
from dataplane.admission.window import Window
from shared.limits import WORKER


class Refused(Exception):  # noqa: N818 - it is an answer, no failure
    """A request finds no room and may not wait: `quota` is full, and `expected` says when it may come back for some.

    Without a `quota` all of its workers are full. `is_too_long`: it could wait, but not for so long, by its own word.
    """

    def __init__(self, quota: Quota | None, expected: float | None, *, is_too_long: bool = False) -> None:
        """`expected` is in seconds from now; None where it is not known."""
        super().__init__(quota.limit.name if quota is not None else WORKER)
        self.quota = quota
        self.expected = expected
        self.is_too_long = is_too_long


class OverOwn(Exception):  # noqa: N818 - likewise
    """A request is over a limit of its own key: `quota` is full, for `expected` seconds (None: not known)."""

    def __init__(self, use: Use, quota: Slots | Window, expected: float | None) -> None:
        super().__init__(quota.limit.name)
        self.use = use
        self.quota = quota
        self.expected = expected
