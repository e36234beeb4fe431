"""Workers that were named when the router was started (`--worker-urls`)."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.discovery.discovered import Discovered


def static_workers(urls: Iterable[str]) -> tuple[Discovered, ...]:
    """Return a worker per URL, in the order given. A slash at the end makes no other worker."""
    plain = dict.fromkeys(url.rstrip("/") for url in urls)
    return tuple(Discovered(id=url, url=url) for url in plain)
