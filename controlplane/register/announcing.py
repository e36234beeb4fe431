"""What to announce, and when: the course of one worker's registration. Pure: what is seen and the time go in.

    state      the engine answers        the engine is gone      asked to end
    unknown    announced: hello          unknown                 -
    announced  hello if it is another    unknown: goodbye        goodbye
               life or something differs,
               else a ping when it is due

An engine is gone when nobody listens on its port any more. One that answers late, or with an error, stays announced:
the router looks at its health itself, and a busy engine is not to lose its registration for it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from controlplane.kv_events.sources import Endpoint
from controlplane.register.facts import Facts
from controlplane.register.given import Given
from shared.registration import Announcement, Goodbye, Hello, KvSource, Ping
from shared.transfer import Transfer

EARLIEST = 0.8
"""Of the interval: pings of a fleet that started together drift apart, and none comes later than was said."""


class Course:
    """One worker's registration, from the first to the last frame. Lives as long as its registrar."""

    def __init__(self, given: Given, url: str, registrar: str, jitter: Callable[[float, float], float]) -> None:
        """`url` is as the router reaches the worker. `jitter` draws a number between two, such as Random.uniform."""
        self._given = given
        self._url = url
        self._registrar = registrar
        self._jitter = jitter
        self._seq = 0
        self._said: Announcement | None = None
        self._epoch = 0
        self._next_ping = 0.0

    @property
    def is_announced(self) -> bool:
        """Whether the routers are to know the worker."""
        return self._said is not None

    def seen(self, facts: Facts, *, now: float, wall: float) -> Hello | None:
        """Take in that the engine answers; returns what is to be said of it, None when it is as announced.

        `now` is monotonic and `wall` Unix time in seconds.
        """
        if facts.process_start is not None:
            self._epoch = int(facts.process_start * 1000)
        elif self._said is None:
            self._epoch = int(wall * 1000)
        said = announcement(self._given, facts, self._url, self._epoch)
        if self._said is not None and said == self._said:
            return None
        self._said = said
        self._plan(now)
        return self.hello()

    def hello(self) -> Hello | None:
        """Return an introduction for a router that has just been reached; None while there is no engine."""
        return None if self._said is None else Hello(**self._fields(self._said))

    def ping(self, *, now: float) -> Ping | None:
        """Return a ping if one is due."""
        if self._said is None or now < self._next_ping:
            return None
        self._plan(now)
        return Ping(**self._fields(self._said))

    def gone(self, reason: str) -> Goodbye | None:
        """Take in that the engine is gone, or that the registrar ends; None when nobody was told of it."""
        if self._said is None:
            return None
        self._said = None
        return Goodbye(registrar=self._registrar, seq=self._number(), url=self._url, reason=reason, ask=True)

    def pause(self, *, now: float) -> float:
        """Return the seconds until a ping is due; the interval while there is nothing to say."""
        return max(0.0, self._next_ping - now) if self._said is not None else self._given.interval

    def _plan(self, now: float) -> None:
        self._next_ping = now + self._given.interval * self._jitter(EARLIEST, 1.0)

    def _fields(self, said: Announcement) -> dict[str, Any]:
        fields = {name: getattr(said, name) for name in said.__struct_fields__}
        return {**fields, "registrar": self._registrar, "seq": self._number(), "ask": True}

    def _number(self) -> int:
        self._seq += 1
        return self._seq


def announcement(given: Given, facts: Facts, url: str, epoch: int) -> Announcement:
    """Return what is said of an engine: the operator's word over its own. Sender and number are left out."""
    transfer = Transfer(
        connector=given.connector or facts.connector or "",
        address=given.address,
        mode=given.mode,
        bootstrap_port=_first(given.bootstrap_port, facts.bootstrap_port),
        dp_size=_first(given.dp_size, facts.dp_size),
        tp_size=_first(given.tp_size, facts.tp_size),
    )
    return Announcement(
        registrar="",
        seq=0,
        url=url,
        epoch=epoch,
        interval=given.interval,
        role=given.role or facts.role,
        models=given.models if given.models is not None else facts.models,
        version=facts.version,
        process_start=facts.process_start,
        ranks=_first(given.ranks, facts.ranks),
        transfer=transfer if transfer != Transfer() else None,
        kv_events=None if facts.kv_events is None else _reachable(facts.kv_events, url),
        labels=given.labels,
        weight=given.weight,
        capacity=given.capacity,
        max_concurrent_requests=given.max_concurrent_requests,
        priority=given.priority,
    )


def doubts(given: Given, facts: Facts) -> list[str]:
    """Return what an operator should know about what is announced, for a log."""
    found = []
    connector, role = given.connector or facts.connector, given.role or facts.role
    if connector and role is None:
        found.append(
            f"the engine hands KV cache over by {connector} and does not tell which side it is; "
            "give --role prefill or --role decode, or it gets whole requests"
        )
    if connector == "nccl" and not given.address:
        found.append("with nccl the engine is in no pair until routers know its address; give --address HOST:PORT")
    if connector == "moriio" and not (given.address and given.mode):
        found.append(
            "with moriio the engine is in no pair until routers know its address and mode; give --address, --mode"
        )
    for name, flag in (("role", "--role"), ("connector", "--connector")):
        said, told = getattr(given, name), getattr(facts, name)
        if said and told and said != told:
            found.append(f"{flag} is {said}, and the engine says {told}; the flag counts")
    if given.models is not None and facts.models is not None and not set(given.models) <= set(facts.models):
        unknown = ", ".join(sorted(set(given.models) - set(facts.models)))
        found.append(f"--model names {unknown}, which the engine does not list")
    return found


def _first(said: int | None, told: int | None) -> int | None:
    return told if said is None else said


def _reachable(sources: tuple[Endpoint, ...], url: str) -> tuple[KvSource, ...]:
    """Return the sources that others reach: those on loopback only if the worker itself is there."""
    is_here = is_loopback(urlsplit(url).hostname or "")
    found = [source for source in sources if is_here or not _on_loopback(source.events)]
    return tuple(
        KvSource(
            rank=source.rank,
            endpoint=source.events,
            replay=source.replay if source.replay and (is_here or not _on_loopback(source.replay)) else None,
            topic=source.topic,
        )
        for source in found
    )


def _on_loopback(endpoint: str) -> bool:
    return is_loopback(urlsplit(endpoint).hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host is this one for whoever asks."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
