"""What monitors are told by a real router, and `routerctl top` in a real terminal."""

from __future__ import annotations

from typing import Any

import httpx

from tests.integration.routers import Router, eventually


def admin(router: Router, path: str) -> Any:
    return httpx.get(f"http://127.0.0.1:{router.admin_port}{path}", trust_env=False).raise_for_status().json()


def stream(client: httpx.Client) -> None:
    usage = {"include_usage": True}
    request = {"model": "sim-model", "prompt": "a b c", "max_tokens": 4, "stream": True, "stream_options": usage}
    client.post("/v1/completions", json=request).raise_for_status()


def test_rates_and_times_come_with_requests(router: Router, client: httpx.Client, fleet: list[str]) -> None:
    def has_figures() -> bool:
        for _ in fleet:
            stream(client)
        told = admin(router, "/monitor?events=100")
        traffic, workers = told["summary"]["traffic"], told["status"]["workers"]
        return (
            traffic is not None
            and traffic["requests"] > 0
            and traffic["output_tokens"] > 0
            and traffic["first_token"] is not None
            and all(worker["traffic"] and worker["traffic"]["first_byte"] for worker in workers)
            and all(plane["request_rate"] is not None for plane in told["status"]["planes"])
            and any(event["text"].endswith("is ready (was starting)") for event in told["events"])
        )

    eventually(has_figures, "figures of the whole and of each worker")
    glance = admin(router, "/summary")
    assert (glance["workers"], glance["planes"], glance["data_planes"]) == ({"ready": len(fleet)}, 2, 2)
