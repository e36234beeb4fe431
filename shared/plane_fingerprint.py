"""What a plane takes only at its start: a new supervisor adopts planes of its own fingerprint and replaces others."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from shared import catalog
from shared.config import SERVER_TLS_FILES, StartConfig, join_address
from shared.messages import Downward, PlaneSocket, Upward
from shared.table import RoutingTable
from shared.version import __version__

_DIGITS = 12


def plane_fingerprint(config: StartConfig) -> str:
    """Return the fingerprint of planes that this code starts by this configuration."""
    tls = [getattr(config, field) for field in SERVER_TLS_FILES]
    return (
        f"{__version__} wire={wire_digest()} {join_address(config.host, config.port)} "
        f"drain={config.drain_delay_secs:g} grace={config.shutdown_grace_secs:g} affinity={config.plane_affinity} "
        f"log={config.log_format},{config.log_dir or ''}" + (f" tls={','.join(map(str, tls))}" if any(tls) else "")
    )


@functools.cache
def wire_digest() -> str:
    """Return a digest of what planes and the control plane have to agree on; 10 ms at the first call.

    A version alone does not tell: where the code is worked on, or taken from a branch, it changes under one version,
    and a plane that does not understand its control plane would be adopted and waited for.
    """
    families = [(metric.name, metric.labels, metric.buckets) for metric in (*catalog.COUNTERS, *catalog.HISTOGRAMS)]
    return digest_of([Downward, Upward, PlaneSocket, RoutingTable], families)


def digest_of(types: Sequence[Any], *more: object) -> str:
    """Return hex digits that change with the form of any message of these types, and with plain values beside them."""
    forms = msgspec.json.schema_components(types)
    return hashlib.sha256(msgspec.json.encode([forms, more], order="sorted")).hexdigest()[:_DIGITS]
