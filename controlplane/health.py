"""When a worker counts as healthy: one life of one worker as a value, and the two functions that move it on.

Nothing here probes or waits; `controlplane.prober` asks how long to pause and reports what it saw.

What one look at the worker can find:

    ok        it answered 2xx
    refused   nobody listens on its port: the process is not there
    failed    it can not work: connection reset or timed out, no HTTP, another status than 2xx
    unclear   says more about the way there, or about load, than about the worker: the answer took too long, its
              name did not resolve, this process has no file descriptor left

and what follows, by state (`pause` is the time until the next look, never above the interval):

    state      ok                                    refused, failed, unclear
    starting   ready                                 starting; the pause doubles from 0.1 s to the longest one;
                                                     unhealthy once the start-up time is over
    ready      ready, no longer suspected            unhealthy at the failure threshold, else ready with a pause
                                                     of 0.25 s (refused, or failed and suspected), 1 s (failed),
                                                     or the whole interval (unclear)
    unhealthy  ready at the success threshold (a     unhealthy; the pause doubles from 1 s to 5 s
               never ready worker: at once)

A suspicion comes from a plane or the scraper that could not reach the worker. It makes looks quick until one of
them decides, so a killed worker is out within a second, while one that is only slow keeps its ordinary pace: three
timeouts a minute apart before anyone calls it unhealthy. Suspicions do not change that, or one busy engine, or a
name server that is away for a second, would cost the fleet its workers: of the looks that they cause, `unclear`
ones count as one per half an interval.

An `unclear` look at a ready worker that has answered requests since the look began says nothing at all: the health
check of a busy engine waits behind its work (vllm#34789), and the answers are the better witness. What is refused or
failed counts all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from shared.config import StartConfig

Outcome = Literal["ok", "refused", "failed", "unclear"]
HealthState = Literal["starting", "ready", "unhealthy"]

FIRST_PAUSE = 0.1
"""Seconds: a worker that starts together with the router is seen within this."""
QUICK_PAUSE = 0.25
"""Seconds between looks at a worker that seems to be dead: three of them fit into one second."""
FAILED_PAUSE = 1.0
"""Seconds until the next look at a ready worker that failed one, and at one that just became unhealthy."""
LONGEST_UNHEALTHY_PAUSE = 5.0
"""Seconds: a worker that was restarted is back in service within this."""


class HealthRules(NamedTuple):
    """The operator's numbers: looks in a row and seconds. See `shared.config.StartConfig` for the defaults."""

    failure_threshold: int = 3
    success_threshold: int = 2
    interval: float = 60.0
    longest_startup_pause: float = 30.0
    startup_timeout: float = 600.0

    @classmethod
    def of(cls, config: StartConfig) -> HealthRules:
        """Return the rules that a configuration asks for."""
        return cls(
            failure_threshold=config.health_failure_threshold,
            success_threshold=config.health_success_threshold,
            interval=config.health_check_interval_secs,
            longest_startup_pause=config.worker_startup_check_interval,
            startup_timeout=config.worker_startup_timeout_secs,
        )


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a worker's health. `begun` is monotonic seconds; `pause` the seconds until the next look."""

    begun: float
    state: HealthState = "starting"
    was_ready: bool = False
    failures: int = 0
    successes: int = 0
    suspected: bool = False
    pause: float = 0.0
    unclear_until: float = 0.0
    """Monotonic seconds until which another `unclear` look says nothing new."""


def judge(health: Health, outcome: Outcome, rules: HealthRules, now: float, *, answering: bool = False) -> Health:
    """Return the health after one look; `answering` if the worker answered requests meanwhile.

    `now` is monotonic seconds.
    """
    if outcome == "ok":
        return _succeeded(health, rules)
    if outcome == "unclear" and answering and health.state == "ready":
        return replace(health, suspected=False, pause=rules.interval)
    return _failed(health, outcome, rules, now)


def suspect(health: Health) -> Health:
    """Return the health after a plane's evidence. Only a worker in service can be suspected."""
    return replace(health, suspected=True) if health.state == "ready" else health


def _succeeded(health: Health, rules: HealthRules) -> Health:
    successes = health.successes + 1
    if health.state == "unhealthy" and health.was_ready and successes < rules.success_threshold:
        return replace(health, successes=successes, pause=min(FAILED_PAUSE, rules.interval))
    return Health(begun=health.begun, state="ready", was_ready=True, pause=rules.interval)


def _failed(health: Health, outcome: Outcome, rules: HealthRules, now: float) -> Health:
    if health.state == "starting":
        if now - health.begun >= rules.startup_timeout:
            return _unhealthy(health, rules)
        return replace(health, pause=min(max(health.pause * 2, FIRST_PAUSE), rules.longest_startup_pause))
    if health.state == "unhealthy":
        pause = min(max(health.pause * 2, FAILED_PAUSE), LONGEST_UNHEALTHY_PAUSE, rules.interval)
        return replace(health, successes=0, pause=pause)
    if outcome == "unclear":
        if now < health.unclear_until:
            return replace(health, pause=health.unclear_until - now)
        health = replace(health, unclear_until=now + rules.interval / 2)
    failures = health.failures + 1
    if failures >= rules.failure_threshold:
        return _unhealthy(health, rules)
    if outcome == "unclear":
        pause = rules.interval
    elif outcome == "refused" or health.suspected:
        pause = QUICK_PAUSE
    else:
        pause = FAILED_PAUSE
    return replace(health, failures=failures, pause=min(pause, rules.interval))


def _unhealthy(health: Health, rules: HealthRules) -> Health:
    return replace(
        health,
        state="unhealthy",
        failures=0,
        successes=0,
        suspected=False,
        pause=min(FAILED_PAUSE, rules.interval),
    )
