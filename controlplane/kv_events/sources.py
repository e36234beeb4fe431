"""Where a worker publishes its KV events: told by the operator, or by the worker itself (`GET /kv_event_sources`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from shared.decoding import DECODE_ERRORS
from shared.kv_config import by_url
from shared.worker_url import origin

PATH = "/kv_event_sources"
MAX_ANSWER = 256 * 1024
MAX_RANKS = 1024
_WILDCARDS = ("*", "0.0.0.0", "[::]", "::")


class Endpoint(NamedTuple):
    """Where one engine publishes. `replay` is None where it can not be asked for past messages."""

    rank: int
    events: str
    replay: str | None
    topic: str = ""
    block_size: int | None = None


class _Told(msgspec.Struct, frozen=True):
    endpoint: str | None = None
    replay_endpoint: str | None = None
    topic: str = ""
    enable_kv_cache_events: bool = True
    publisher: str | None = "zmq"


_decode = msgspec.json.Decoder(dict[str, _Told]).decode


class SourcesError(ValueError):
    """An answer that tells no sources. The message says what is wrong."""


def told_by_worker(body: bytes, url: str) -> tuple[Endpoint, ...]:
    """Return what a worker's answer tells, its wildcard addresses replaced by its host. Raises SourcesError."""
    try:
        told = _decode(body)
    except DECODE_ERRORS as error:
        raise SourcesError(str(error)) from error
    if len(told) > MAX_RANKS:
        raise SourcesError(f"{len(told)} ranks; {MAX_RANKS} is the most")
    host = urlsplit(url).hostname or ""
    found = []
    for rank, source in told.items():
        if not rank.isdecimal() or len(rank) > 6:
            raise SourcesError(f"{rank[:20]!r} is no data-parallel rank")
        if source.endpoint is None or not source.enable_kv_cache_events or source.publisher != "zmq":
            continue
        replay = _reachable(source.replay_endpoint, host) if source.replay_endpoint else None
        found.append(Endpoint(int(rank), _reachable(source.endpoint, host), replay, source.topic))
    return tuple(sorted(found))


def _reachable(endpoint: str, host: str) -> str:
    """Return an endpoint as others reach it."""
    scheme, separator, address = endpoint.partition("://")
    bound, colon, port = address.rpartition(":")
    # Another scheme means a socket of that machine alone.
    if not separator or scheme != "tcp" or not colon or not port.isdecimal() or not endpoint.isprintable():
        raise SourcesError(f"endpoint {endpoint[:100]!r} is not tcp://host:port")
    if bound not in _WILDCARDS:
        return endpoint
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def given(
    events: Sequence[str], replays: Sequence[str], block_size: int | None
) -> dict[tuple[str, str, int], tuple[Endpoint, ...]]:
    """Return the endpoints that the operator gave, by the origin of their worker's URL; see `by_url`."""
    replay_of = {origin(url): endpoints for url, endpoints in by_url(replays).items()}
    return {
        origin(url): tuple(
            Endpoint(rank, endpoint, _nth(replay_of.get(origin(url), ()), rank), block_size=block_size)
            for rank, endpoint in enumerate(endpoints)
        )
        for url, endpoints in by_url(events).items()
    }


def _nth(endpoints: Sequence[str], rank: int) -> str | None:
    return endpoints[rank] if rank < len(endpoints) else None
