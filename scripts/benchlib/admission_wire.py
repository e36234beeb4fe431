"""What `scripts/bench admission` and its processes tell each other. Times are of CLOCK_MONOTONIC, the same for all."""

from typing import NamedTuple

import msgspec


class ClientsSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Clients of one kind, over connections that are kept.

    With `rate`, so many requests per second come whatever the router does, over `connections`; an answer's times count
    from when its request was due. Without it, each connection's client asks again as soon as it is answered, and
    `pause` seconds after a refusal. With `once_within`, they come within so many seconds, do as `retry-after-ms` or
    `Retry-After` says, and ask no more once they have an answer.
    """

    port: int
    connections: int
    rate: float = 0.0
    pause: float = 0.1
    once_within: float = 0.0
    key: str = ""


class Answer(NamedTuple):
    """One answer: when it ended, its status, the seconds to its first byte, to its end, and to wait (0: none).

    `late` is how much later than it was due it was sent, which is the clients' own fault and part of the other times;
    `tries` is how many refusals the same client had before, one after the other.
    """

    when: float
    status: int
    first: float
    whole: float
    retry_after: float
    late: float
    tries: int


class Told(msgspec.Struct, frozen=True):
    """What the clients of a process were told, and how many connections broke."""

    answers: list[Answer]
    lost: int

    def between(self, begin: float, end: float, status: int) -> list[Answer]:
        """Return the answers with a status that ended between."""
        return [answer for answer in self.answers if begin <= answer.when < end and answer.status == status]

    def refused(self, begin: float, end: float) -> list[Answer]:
        """Return the answers that ended between of requests that were refused."""
        return [one for one in self.answers if begin <= one.when < end and one.status in (429, 503)]


class Seen(msgspec.Struct, frozen=True):
    """What the worker saw from `since` until `until`: when requests came, how many were open on average and at most."""

    since: float
    until: float
    begun: list[float]
    mean: float
    peak: int

    @property
    def per_second(self) -> float:
        """Requests that came in a second, of the time that the worker itself counted."""
        return len(self.begun) / (self.until - self.since)
