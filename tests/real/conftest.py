"""Fleets of real vLLM servers. One is up at a time: tests that name the same one run together, and share it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.routers import free_ports
from tests.real.servers import PATIENCE, Server, Spec, servers, transfer

LONG = "--max-model-len=32768"
"""Room for answers that go on for a while."""
DEVELOPMENT = {"VLLM_SERVER_DEV_MODE": "1"}
"""Caches can be cleared."""

ENGINE_BLOCKS = 40
"""KV blocks of each engine with ranks: so few that some prompts drive others out."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all that is here; a fleet's start and its stalls belong to whoever waits for it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("real")
            item.add_marker(pytest.mark.timeout(1800))


def kv_events(ranks: int = 1) -> str:
    """The flag for KV events; each rank adds its number to both ports."""
    events, replays = 0, 0
    while abs(events - replays) < ranks:
        events, replays = free_ports(2)
    config = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": f"tcp://*:{events}",
        "replay_endpoint": f"tcp://*:{replays}",
        "topic": "kv-events",
    }
    return f"--kv-events-config={json.dumps(config)}"


def nixl(role: str) -> Spec:
    [port] = free_ports(1)
    place = {"VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT": str(port)}
    return Spec((LONG, transfer("NixlConnector", role)), {**DEVELOPMENT, **place})


def two_alike(folder: Path) -> list[Spec]:
    return [Spec((LONG, kv_events()), DEVELOPMENT) for _ in range(2)]


def shared_folder(server: Server) -> Path:
    """Where the servers of `two_with_a_shared_folder` keep KV cache."""
    return server.log.parent / "kv"


def two_with_a_shared_folder(folder: Path) -> list[Spec]:
    return [
        Spec((LONG, transfer("ExampleConnector", "kv_both", shared_storage_path=str(folder / "kv"))), DEVELOPMENT)
    ] * 2


def prefill_and_decode(folder: Path) -> list[Spec]:
    return [nixl("kv_producer"), nixl("kv_consumer")]


def one_of_two_ranks(folder: Path) -> list[Spec]:
    return [
        Spec(
            (
                "--data-parallel-size=2",
                "--max-model-len=1024",
                f"--num-gpu-blocks-override={ENGINE_BLOCKS}",
                kv_events(2),
            )
        )
    ]


def one_for_embeddings(folder: Path) -> list[Spec]:
    return [Spec(("--runner=pooling", "--convert=embed"))]


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """The fleet that a test module names, by `pytestmark = fleet_of(...)`."""
    specs: Callable[[Path], list[Spec]] = request.param
    folder = tmp_path_factory.mktemp("vllm")
    with servers(folder, *specs(folder)) as started:
        yield started


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A client that keeps no connection: the router would hold it open, and nothing is to be left there."""
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(timeout=PATIENCE, limits=limits, trust_env=False) as one:
        yield one
