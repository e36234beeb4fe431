"""mvllm's endpoints: the shapes of its README and its answers, from what a plane knows."""

from __future__ import annotations

import pytest

from dataplane.load import Figures
from dataplane.mvllm_answers import health, load_stats, server_models
from shared.table import Worker, WorkerState


def worker(name: str, state: WorkerState = "ready", capacity: float | None = 3.0) -> Worker:
    return Worker(id=name, url=name, state=state, capacity=capacity, models=("m",))


def figures(in_flight: int = 0, running: float = 0.0, waiting: float = 0.0, kv_usage: float = 0.0) -> Figures:
    return Figures(in_flight, running, waiting, kv_usage, True, 1.0)


def test_loads_are_those_of_its_readme() -> None:
    workers = [worker("http://gpu-server-1:8081"), worker("b", capacity=5.0), worker("c", "unhealthy", 4.0)]
    known = {
        "http://gpu-server-1:8081": figures(running=2, kv_usage=0.785),
        "b": figures(in_flight=3, running=1),
        "c": figures(),
    }
    told = load_stats(workers, known)
    assert told["servers"][0] == {
        "url": "http://gpu-server-1:8081",
        "current_load": 2,
        "max_capacity": 3,
        "available_capacity": 1,
        "utilization_percent": 66.7,
        "status": True,
        "detailed_metrics": {"num_requests_running": 2, "num_requests_waiting": 0, "gpu_cache_usage_perc": 78.5},
    }
    assert told["summary"] == {
        "total_servers": 3,
        "healthy_servers": 2,
        "total_active_load": 5,
        "total_capacity": 12,
        "overall_utilization_percent": 41.7,
    }


def test_what_rests_on_an_unknown_capacity_is_null() -> None:
    told = load_stats([worker("a", capacity=None), worker("b", capacity=2.0)], {"a": figures(9), "b": figures(4)})
    assert [told["servers"][0][key] for key in ("max_capacity", "available_capacity", "utilization_percent")] == [
        None, None, None,
    ]  # fmt: skip
    assert [told["servers"][1][key] for key in ("available_capacity", "utilization_percent")] == [0, 100.0]
    assert told["summary"]["overall_utilization_percent"] == 200.0
    assert load_stats([], {})["summary"]["overall_utilization_percent"] == 0.0


@pytest.mark.parametrize(
    ("ready", "down", "status"),
    [(0, 0, "no_servers"), (4, 1, "healthy"), (3, 1, "degraded"), (1, 1, "degraded"), (1, 2, "unhealthy")],
)
def test_health_goes_by_the_share_of_ready_workers(ready: int, down: int, status: str) -> None:
    workers = [worker(f"r{n}") for n in range(ready)] + [worker(f"d{n}", "unhealthy") for n in range(down)]
    told = health(workers, with_urls=True)
    assert (told["status"], told["healthy_servers"], told["unhealthy_servers"]) == (status, ready, down)
    assert told["health_score"] == (ready / (ready + down) if workers else 0.0)
    assert [server["healthy"] for server in told["servers"]] == [True] * ready + [False] * down
    assert health(workers, with_urls=False)["servers"] == []


def test_drained_servers_count_as_neither() -> None:
    told = health([worker("a"), worker("b", "draining"), worker("c", "draining")], with_urls=True)
    assert (told["status"], told["health_score"]) == ("healthy", 1.0)
    assert (told["total_servers"], told["healthy_servers"], told["unhealthy_servers"]) == (3, 1, 0)
    assert [server["healthy"] for server in told["servers"]] == [True, False, False]
    all_drained = health([worker("a", "draining")], with_urls=True)
    assert (all_drained["status"], all_drained["health_score"], all_drained["unhealthy_servers"]) == (
        "unhealthy",
        0.0,
        0,
    )


def test_models_are_by_server() -> None:
    assert server_models([worker("a"), worker("b", "unhealthy")]) == {
        "servers": {
            "a": {"supported_models": ("m",), "healthy": True},
            "b": {"supported_models": ("m",), "healthy": False},
        },
        "total_servers": 2,
        "healthy_servers": 1,
    }
