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

Where the operator has set rules about the last checks together (`controlplane.health_window`), a ready worker that
breaks one is unhealthy, and an unhealthy one is not ready before it keeps them all. They count from when it was
first ready, and anew after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from controlplane.health_window import Check, WindowRules, fault
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

UNASKED_PAUSE = 86400.0
"""Seconds between looks that nobody wants: a day is as good as never."""


class HealthRules(NamedTuple):
    """The operator's numbers: looks in a row and seconds. See `shared.config.StartConfig` for the defaults."""

    failure_threshold: int = 3
    success_threshold: int = 2
    interval: float = 60.0
    longest_startup_pause: float = 30.0
    startup_timeout: float = 600.0
    periodic: bool = True
    """Without it a worker that is ready is looked at only when somebody could not reach it."""
    window: WindowRules = WindowRules()

    @property
    def rest(self) -> float:
        """Seconds between looks at a ready worker of which nothing is known that speaks against it."""
        return self.interval if self.periodic else UNASKED_PAUSE

    @classmethod
    def of(cls, config: StartConfig) -> HealthRules:
        """Return the rules that a configuration asks for."""
        return cls(
            failure_threshold=config.health_failure_threshold,
            success_threshold=config.health_success_threshold,
            interval=config.health_check_interval_secs,
            longest_startup_pause=config.worker_startup_check_interval,
            startup_timeout=config.worker_startup_timeout_secs,
            periodic=not config.disable_health_check,
            window=WindowRules(
                config.health_window_size, config.health_min_success_rate, config.health_max_response_time_secs
            ),
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
    checks: tuple[Check, ...] = ()
    """The last ones, while there are rules for them."""
    fault: str = ""
    """Which of these rules is broken, for people."""


def judge(
    health: Health, outcome: Outcome, rules: HealthRules, now: float, *, took: float = 0.0, answering: bool = False
) -> Health:
    """Return the health after one look, which `took` seconds; `answering` if the worker answered requests meanwhile.

    `now` is monotonic seconds.
    """
    if outcome == "unclear" and health.state == "ready":
        if answering:
            return replace(health, suspected=False, pause=rules.rest)
        if now < health.unclear_until:
            return replace(health, pause=health.unclear_until - now)
    after = _succeeded(health, rules) if outcome == "ok" else _failed(health, outcome, rules, now)
    if not rules.window.are_set or health.state == "starting":
        return after
    checks = (*health.checks, Check(outcome == "ok", took))[-rules.window.size :]
    why = fault(checks, rules.window)
    if why and after.state == "ready":
        after = _unhealthy(after, rules)
    return replace(after, checks=checks, fault=why)


def forget_checks(health: Health) -> Health:
    """Return the health of a worker that was restarted: the checks before say nothing about it."""
    return replace(health, checks=(), fault="")


def suspect(health: Health) -> Health:
    """Return the health after a plane's evidence. Only a worker in service can be suspected."""
    return replace(health, suspected=True) if health.state == "ready" else health


def _succeeded(health: Health, rules: HealthRules) -> Health:
    successes = health.successes + 1
    if health.state == "unhealthy" and health.was_ready and successes < rules.success_threshold:
        return replace(health, successes=successes, pause=min(FAILED_PAUSE, rules.interval))
    return Health(begun=health.begun, state="ready", was_ready=True, pause=rules.rest)


def _failed(health: Health, outcome: Outcome, rules: HealthRules, now: float) -> Health:
    if health.state == "starting":
        if now - health.begun >= rules.startup_timeout:
            return _unhealthy(health, rules)
        return replace(health, pause=min(max(health.pause * 2, FIRST_PAUSE), rules.longest_startup_pause))
    if health.state == "unhealthy":
        pause = min(max(health.pause * 2, FAILED_PAUSE), LONGEST_UNHEALTHY_PAUSE, rules.interval)
        return replace(health, successes=0, pause=pause)
    if outcome == "unclear":
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


def checks_of(config: StartConfig) -> tuple[HealthRules, str, int, str]:
    """Return everything that a worker's check depends on."""
    # With Mooncake there is a bootstrap server to ask.
    return (
        HealthRules.of(config),
        config.health_check_endpoint,
        config.health_check_timeout_secs,
        config.kv_connector,
    )
