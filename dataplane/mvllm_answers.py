"""mvllm's endpoints, with its shapes: what the service is, how the fleet is, how busy each server is, its models.

Figures of single health checks are no plane's to know and are left out; the admin port's `/status` has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dataplane.load import Figures
from shared.table import Worker
from shared.version import __version__

HEALTHY, DEGRADED = 0.8, 0.5
"""Least shares of ready workers at which mvllm calls a fleet so."""


def service() -> dict[str, Any]:
    """Return the answer of `GET /`."""
    return {"service": "routerctl", "version": __version__, "status": "running"}


def health(workers: Iterable[Worker], *, with_urls: bool) -> dict[str, Any]:
    """Return the answer of `GET /health`; its list of servers is empty without `with_urls`.

    Servers that are drained have no fault, and count neither as healthy nor as unhealthy.
    """
    all_of_them = tuple(workers)
    total = len(all_of_them)
    ready = sum(worker.state == "ready" for worker in all_of_them)
    unhealthy = sum(worker.state not in ("ready", "draining") for worker in all_of_them)
    score = ready / (ready + unhealthy) if ready else 0.0
    said = "healthy" if score >= HEALTHY else "degraded" if score >= DEGRADED else "unhealthy"
    servers = [
        {"url": worker.id, "healthy": worker.state == "ready", "supported_models": worker.models or ()}
        for worker in all_of_them
    ]
    return {
        "status": said if total else "no_servers",
        "health_score": score,
        "total_servers": total,
        "healthy_servers": ready,
        "unhealthy_servers": unhealthy,
        "servers": servers if with_urls else [],
    }


def server_models(workers: Iterable[Worker]) -> dict[str, Any]:
    """Return the answer of `GET /server-models`."""
    servers = {
        worker.id: {"supported_models": worker.models or (), "healthy": worker.state == "ready"} for worker in workers
    }
    ready = sum(told["healthy"] is True for told in servers.values())
    return {"servers": servers, "total_servers": len(servers), "healthy_servers": ready}


def load_stats(workers: Iterable[Worker], figures: Mapping[str, Figures]) -> dict[str, Any]:
    """Return the answer of `GET /load-stats`; `figures` are by the workers' ids.

    `current_load` counts requests in flight, of all planes, or in the engine, whichever is more. What rests on a
    capacity is null where the worker has none; the cache's use is in percent.
    """
    servers: list[dict[str, Any]] = []
    active = filled = 0
    capacity = 0.0
    for worker in workers:
        known = figures[worker.id]
        load = max(known.in_flight, round(known.running + known.waiting))
        most = worker.capacity
        active += load
        if most is not None:
            filled += load
            capacity += most
        servers.append(
            {
                "url": worker.id,
                "current_load": load,
                "max_capacity": None if most is None else _plain(most),
                "available_capacity": None if most is None else _plain(max(0.0, most - load)),
                "utilization_percent": None if most is None else min(100.0, round(100 * load / most, 1)),
                "status": worker.state == "ready",
                "detailed_metrics": {
                    "num_requests_running": round(known.running),
                    "num_requests_waiting": round(known.waiting),
                    "gpu_cache_usage_perc": round(100 * known.kv_usage, 1),
                },
            }
        )
    summary = {
        "total_servers": len(servers),
        "healthy_servers": sum(server["status"] for server in servers),
        "total_active_load": active,
        "total_capacity": _plain(capacity),
        "overall_utilization_percent": round(100 * filled / capacity, 1) if capacity else 0.0,
    }
    return {"servers": servers, "summary": summary}


def _plain(number: float) -> float:
    """Return a whole number without its .0, as mvllm's capacities are."""
    return int(number) if number == int(number) else number
