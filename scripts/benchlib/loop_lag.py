"""How late the planes' event loops were, as the router's own metrics tell."""

import re

from benchlib import net
from benchlib.targets import Running

_BUCKET = re.compile(r'^routerctl_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', re.MULTILINE)


def buckets(router: Running) -> dict[float, float]:
    """Return how many looks were late by a bound at most, in seconds, since the router's start."""
    _, page = net.get(router.launch.metrics_port, "/metrics")
    return {float(bound): float(count) for bound, count in _BUCKET.findall(page.decode())}


def text(before: dict[float, float], after: dict[float, float]) -> str:
    """Return the bounds below which most looks, and all, were late between two readings."""
    counts = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    looks = max(counts.values(), default=0.0)
    if not looks:
        return "loop lag unknown"
    p99, most = (next(bound for bound, count in counts.items() if count >= share * looks) for share in (0.99, 1.0))
    return f"loop lag p99 <= {p99 * 1e3:g} ms, at most {most * 1e3:g} ms"
