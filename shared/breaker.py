"""The circuit breaker of one worker: a pure machine, of which control plane and planes run one each.

    closed --(too many failures)--> open --(timeout)--> half-open --(enough probes passed)--> closed
                                      ^                     |
                                      +---(a probe failed)--+

*Closed*: too many are `failure_threshold` failures within `window` seconds that are more than a fifth of the requests
begun meanwhile. Without the share ten unlucky requests in two minutes would take out a worker that serves a thousand a
second well; with it every success counts, and none has to be noted: each failure says how many requests were begun
since the one before.

*Open*: nothing that is seen counts, as it is of requests that were sent before, or sent for want of another worker.

*Half-open*: one plane, the *holder*, sends one request at a time as a probe. A real request, because a server whose
engine fails every request may well answer its health checks. Whoever has a request for the worker asks to be the
holder; the first one is. So the probe comes from a plane that has traffic, and nothing happens while nobody has any. A
holder that makes no use of it for `HOLDER_PATIENCE`, or whose probe takes longer than the breaker's timeout, loses it.
A probe that ends without a verdict (its client left, the worker was busy) is followed by another one.

Times are in seconds on any one clock.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from shared.table import BreakerState, Settings

LEAST_SHARE = 5
"""One failure in so many requests is too many, if it goes on."""
HOLDER_PATIENCE = 2.0
"""Seconds: a plane that has just had a request for the worker has another one by then, or is not busy."""

ProbeNewsKind = Literal["wanted", "sent", "passed", "failed", "no-verdict"]


class BreakerRules(NamedTuple):
    """The operator's numbers (`--cb-*`); times in seconds."""

    failure_threshold: int = 10
    success_threshold: int = 3
    timeout: float = 60.0
    window: float = 120.0

    @classmethod
    def of(cls, settings: Settings) -> BreakerRules | None:
        """Return the rules that the settings hold; None when the breaker is switched off."""
        if not settings.circuit_breaker:
            return None
        return cls(
            settings.cb_failure_threshold, settings.cb_success_threshold, settings.cb_timeout, settings.cb_window
        )


@dataclass(frozen=True, slots=True)
class Closed:
    """The last failures, at most `failure_threshold`: when each was, and how many requests were begun until then."""

    failures: tuple[tuple[float, int], ...] = ()
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Open:
    """No requests until `since` + the timeout."""

    since: float


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """`holder` is the plane that may probe ("": none yet), since when it may or has `sent` its present probe."""

    since: float
    holder: str = ""
    sent: bool = False
    passed: int = 0


Circuit = Closed | Open | HalfOpen


def state_of(circuit: Circuit) -> BreakerState:
    """Return the state's name."""
    match circuit:
        case Closed():
            return "closed"
        case Open():
            return "open"
        case HalfOpen():
            return "half-open"


def failed(circuit: Circuit, rules: BreakerRules, now: float, *, requests: int = 1, tripped: bool = False) -> Circuit:
    """Take in a failed request, the last of `requests` begun since the failure before.

    With `tripped` the one who tells of it has opened its own breaker; that is followed.
    """
    if not isinstance(circuit, Closed):
        return circuit
    total = circuit.requests + requests
    failures = (*circuit.failures, (now, total))[-rules.failure_threshold :]
    began, before = failures[0]
    if tripped or (
        len(failures) == rules.failure_threshold
        and now - began <= rules.window
        and total - before < rules.failure_threshold * LEAST_SHARE
    ):
        return Open(now)
    return Closed(failures, total)


def probed(circuit: Circuit, rules: BreakerRules, news: ProbeNewsKind, plane: str, now: float) -> Circuit:
    """Take in what a plane tells of a probe. What is not from the holder counts for nothing."""
    if not isinstance(circuit, HalfOpen):
        return circuit
    if news == "wanted":
        return replace(circuit, holder=plane, since=now, sent=False) if not circuit.holder else circuit
    if circuit.holder != plane:
        return circuit
    if news == "sent":
        return replace(circuit, since=now, sent=True)
    if news == "no-verdict":
        return replace(circuit, since=now, sent=False)
    if news == "failed":
        return Open(now)
    if circuit.passed + 1 >= rules.success_threshold:
        return Closed()
    return replace(circuit, since=now, sent=False, passed=circuit.passed + 1)


def due(circuit: Circuit, rules: BreakerRules) -> float | None:
    """Return when time alone changes something; None when it never does."""
    match circuit:
        case Open(since):
            return since + rules.timeout
        case HalfOpen(since, holder, sent) if holder:
            return since + (max(rules.timeout, HOLDER_PATIENCE) if sent else HOLDER_PATIENCE)
    return None


def tick(circuit: Circuit, rules: BreakerRules, now: float, planes: Collection[str]) -> Circuit:
    """Do what time has made due; `planes` are those that live."""
    when = due(circuit, rules)
    if when is None:
        return circuit
    if isinstance(circuit, HalfOpen):
        lost = now >= when or circuit.holder not in planes
        return replace(circuit, since=now, holder="", sent=False) if lost else circuit
    return HalfOpen(now) if now >= when else circuit
