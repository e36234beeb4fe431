"""What the bench and its load process tell each other: one JSON line each way."""

from typing import Literal

import msgspec


class LoadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement's load.

    `closed`: each connection sends its next request when the last is answered, until `seconds`
    have passed or, if set, until `requests` are started. `held`: as closed, for as long as the
    bench wants, which asks for a result now and then. `open`: `rate` requests per second
    arrive whatever the router does; latency counts from the arrival, so it includes queueing.
    `chunks` > 0 asks for SSE streams of that many events, `pace_ms` apart.
    """

    #: Of the router, on 127.0.0.1; filled in when the router is started.
    port: int = 0
    mode: Literal["closed", "held", "open"] = "closed"
    connections: int = 64
    seconds: float = 3.0
    requests: int | None = None
    rate: float = 0.0
    chunks: int = 0
    pace_ms: float = 0.0
    warmup_seconds: float = 0.3
    #: Time after the last start, in seconds, at which unanswered requests count as errors.
    grace_seconds: float = 20.0


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the clients saw. Times in seconds, latencies and times to first body byte in ms.

    Of a held load it is what they saw since the result before; `chunks` counts those of unfinished streams too.
    """

    requests: int
    chunks: int
    seconds: float
    p50_ms: float
    p99_ms: float
    ttfb_p50_ms: float
    ttfb_p99_ms: float
    #: Reads from the sockets: below `chunks` where events arrive several at a time.
    reads: int
    client_cpu_seconds: float
    errors: dict[str, int]
