"""The answers of limits and of the queue: who is refused there, and when to come back (`errors.py` has the others)."""

from __future__ import annotations

from shared.errors import CLIENT, RouterError


def over_capacity(what: str, seconds: int) -> RouterError:
    """There is no room for the request now, and none to wait in."""
    return RouterError(503, "over_capacity", f"{what} Try again in {seconds} s.", retry_after=seconds)


def rate_limited(what: str, seconds: int, kind: str = CLIENT, *, is_final: bool = False) -> RouterError:
    """The client asks for more than it may, or for more than it may ever (`is_final`).

    `kind` is what OpenAI's clients read as the error's type where a key has a limit of its own: `requests` or `tokens`.
    """
    text = what if is_final else f"{what} Try again in {seconds} s."
    error = RouterError(429, "rate_limit_exceeded", text, side=CLIENT, retry_after=None if is_final else seconds)
    error.kind, error.is_final = kind, is_final
    return error


def queue_timeout(waited: float, seconds: int, *, again: bool = False) -> RouterError:
    """The request waited for its turn for as long as it may; `again`: for another worker than the first."""
    flags = "(--queue-timeout-secs, or its own x-routerctl-queue-timeout-secs)"
    what = f"for its turn {flags}"
    if again:
        what = f"for another worker {flags}: all have as many requests as they may"
    return RouterError(
        504,
        "queue_timeout",
        f"The request waited {waited:g} s {what}. Try again in {seconds} s.",
        retry_after=seconds,
    )


def unknown_class() -> RouterError:
    """A request asks for a class that there is not."""
    return RouterError(
        400,
        "unknown_class",
        "The field x-routerctl-class is none of interactive and batch. Send one, or none.",
        side=CLIENT,
    )


def class_not_allowed(name: str) -> RouterError:
    """A request asks for a better class than its key's."""
    return RouterError(
        403,
        "class_not_allowed",
        f"The API key called {name} may not ask for a better class than its own (may_choose_class). Leave "
        "x-routerctl-class out.",
        side=CLIENT,
    )


def bad_queue_timeout() -> RouterError:
    """A request says how long it may wait, and that is no time."""
    return RouterError(
        400,
        "bad_queue_timeout",
        "The field x-routerctl-queue-timeout-secs is no number of seconds from 0 on. Send one, or none.",
        side=CLIENT,
    )
