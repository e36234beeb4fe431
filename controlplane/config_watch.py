"""Whether what the configuration file holds is in use, and when it should be: decisions without a file or a clock.

The file is compared by its content, never by its time or its inode: editors replace files, Kubernetes swaps links, and
both may bring back what was there before.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

SETTLED = 1.0
"""Seconds for which a content must have stood before it is taken up: editors and copies write in several steps."""

Standing = Literal["in use", "changed", "refused", "unreadable"]


class Refused(NamedTuple):
    """What the file held (None: it could not be read) when it was refused, and why."""

    text: str | None
    problems: tuple[str, ...]


class Seen(NamedTuple):
    """What the file holds (None: it can not be read; `why` says more), and since when, in monotonic seconds."""

    text: str | None
    since: float
    why: str = ""


def see(before: Seen | None, text: str | None, now: float, why: str = "") -> Seen:
    """Take in another look at the file."""
    since = before.since if before is not None and before.text == text else now
    return Seen(text, since, why)


def is_due(seen: Seen, in_use: str | None, refused: Refused | None, now: float) -> bool:
    """Whether to take the content up: it is another one, was not refused yet, and nobody is writing any more."""
    return not _is_done_with(seen, in_use, refused) and now - seen.since >= SETTLED


def is_put_right(seen: Seen, in_use: str | None, refused: Refused | None) -> bool:
    """Whether the file holds again what is in use, after other content of it was refused."""
    return refused is not None and refused.text != in_use and seen.text == in_use


def standing(seen: Seen, in_use: str | None, refused: Refused | None) -> Standing:
    """Return how the content stands to the one in use."""
    if seen.text == in_use:
        return "in use"
    if seen.text is None:
        return "unreadable"
    return "refused" if _is_done_with(seen, in_use, refused) else "changed"


def problems(seen: Seen, in_use: str | None, refused: Refused | None) -> tuple[str, ...]:
    """Return what is wrong with the content, if anything is known to be."""
    state = standing(seen, in_use, refused)
    if state == "unreadable" and seen.why:
        return (seen.why,)
    return refused.problems if refused is not None and refused.text == seen.text and state != "in use" else ()


def _is_done_with(seen: Seen, in_use: str | None, refused: Refused | None) -> bool:
    return seen.text == in_use or (refused is not None and refused.text == seen.text)
