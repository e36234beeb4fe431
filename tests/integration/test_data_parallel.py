"""Data-parallel ranks: two servers of two engines each, every engine a worker of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.load import Load
from tests.integration.commands import routerctl
from tests.integration.routers import Router, eventually, router_before, simulated_fleet

RANKS = 2
BODY = {"model": "sim-model", "prompt": "Hello", "max_tokens": 2}
HEADER = "x-data-parallel-rank"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[str]]:
    """The URLs of two servers, each a process."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    arguments = (f"--data-parallel-size={RANKS}", "--time-scale=0", "--record=400", "--kv-events")
    with simulated_fleet(folders[0], 1, *arguments) as one, simulated_fleet(folders[1], 1, *arguments) as two:
        yield one + two


@pytest.fixture
def router(tmp_path: Path, hosts: list[str]) -> Iterator[Router]:
    arguments = (f"--intra-node-data-parallel-size={RANKS}", "--policy=round_robin", "--expose-worker")
    with router_before(tmp_path, hosts, *arguments, planes=2) as one:
        yield one


def ids(host: str) -> list[str]:
    return [f"{host}@{rank}" for rank in range(RANKS)]


def ask(router: Router, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return httpx.post(f"{router.url}/v1/completions", json=BODY | body, headers=headers, timeout=30, trust_env=False)


def workers(router: Router) -> dict[str, Any]:
    told = httpx.get(f"http://127.0.0.1:{router.admin_port}/workers", timeout=30, trust_env=False).json()
    return {worker["id"]: worker for worker in told["workers"]}


def wait_for(router: Router, wanted: dict[str, str]) -> None:
    def are() -> bool:
        try:
            return {key: worker["state"] for key, worker in workers(router).items()} == wanted
        except httpx.ConnectError:
            # Another control plane is about to listen.
            return False

    eventually(are, f"{wanted}")


def chosen(router: Router, count: int, headers: dict[str, str] | None = None) -> Counter[str]:
    """How often each worker answered."""
    return Counter(ask(router, headers).headers["x-routerctl-worker"] for _ in range(count))


def sent(host: str) -> list[list[str]]:
    """The ranks that each request to a server had in its head."""
    told = httpx.get(f"{host}/sim/requests", timeout=30, trust_env=False).json()["requests"]
    asked = (one for one in told if one["target"] == "/v1/completions")
    return [[value for name, value in one["headers"] if name.lower() == HEADER] for one in asked]


def command(router: Router, *arguments: str) -> dict[str, Any]:
    done = routerctl("workers", *arguments, f"--runtime-dir={router.runtime.path}", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_every_rank_gets_its_share_and_a_request_names_its_rank_once(router: Router, hosts: list[str]) -> None:
    every = [key for host in hosts for key in ids(host)]
    wait_for(router, dict.fromkeys(every, "ready"))
    assert [worker["rank"] for worker in workers(router).values()] == [0, 1, 0, 1]
    counts = chosen(router, 80)
    assert set(counts) == set(every)
    assert min(counts.values()) >= 10
    for host in hosts:
        assert Counter(rank for (rank,) in sent(host)) == {str(rank): counts[f"{host}@{rank}"] for rank in range(RANKS)}
        engines = httpx.get(f"{host}/sim/state", timeout=30, trust_env=False).json()["engines"]
        asked = [counts[key] for key in ids(host)]
        assert [engine["prompt_tokens"] / engines[0]["prompt_tokens"] for engine in engines] == [
            count / asked[0] for count in asked
        ]
    listed = httpx.get(f"{router.url}/list_workers", timeout=30, trust_env=False).json()
    assert listed == {"urls": every}


def test_each_rank_has_the_load_of_its_engine(tmp_path: Path) -> None:
    arguments = (f"--data-parallel-size={RANKS}", "--decode-ms=50")
    with simulated_fleet(tmp_path, 1, *arguments) as (host,):
        flags = (f"--intra-node-data-parallel-size={RANKS}", "--load-interval-ms=50")
        with (
            router_before(tmp_path, [host], *flags) as router,
            httpx.stream(
                "POST",
                f"{router.url}/v1/completions",
                json=BODY | {"max_tokens": 4000, "stream": True},
                headers={HEADER: "1"},
                timeout=30,
            ) as answer,
        ):
            assert answer.status_code == 200

            def running() -> list[float | None]:
                return [worker["load"] and worker["load"]["running"] for worker in workers(router).values()]

            eventually(lambda: running() == [0, 1], "the second engine's request")


def test_a_client_may_choose_its_rank(router: Router, hosts: list[str]) -> None:
    counts = chosen(router, 20, {HEADER: "1"})
    assert set(counts) == {f"{host}@1" for host in hosts}
    assert all(ranks == ["1"] for host in hosts for ranks in sent(host))
    for wrong in ("2", "-1", "one", ""):
        refused = ask(router, {HEADER: wrong})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unknown_rank")


def test_a_clients_rank_can_be_refused(tmp_path: Path, hosts: list[str]) -> None:
    flags = (f"--intra-node-data-parallel-size={RANKS}", "--refuse-client-rank")
    with router_before(tmp_path, hosts, *flags) as router:
        refused = ask(router, {HEADER: "1"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "rank_refused")
        assert ask(router).status_code == 200


def test_one_rank_or_all_of_a_url_are_drained_removed_and_added(router: Router, hosts: list[str]) -> None:
    one, two = hosts
    with Load(router.url, 4) as load:
        assert command(router, "drain", f"{one}@1")["id"] == f"{one}@1"
        assert set(chosen(router, 30)) == {f"{one}@0", *ids(two)}
        drained = command(router, "drain", one)
        assert (drained["id"], drained["ranks"]) == (one, ids(one))
        assert set(chosen(router, 30)) == set(ids(two))
        eventually(lambda: all(workers(router)[key]["drained"] for key in ids(one)), "both ranks to be drained")
        command(router, "undrain", one)
        eventually(lambda: set(chosen(router, 30)) == {*ids(one), *ids(two)}, "all ranks to be back")
        command(router, "remove", two)
        eventually(lambda: list(workers(router)) == ids(one), "the removed ranks to be gone")
        command(router, "remove", f"{one}@0", "--force")
        assert set(chosen(router, 10)) == {f"{one}@1"}
        command(router, "add", one)
        command(router, "add", two)
        wait_for(router, dict.fromkeys([f"{one}@1", f"{one}@0", *ids(two)], "ready"))
    assert load.failed == []
    again = httpx.post(f"{router.url}/add_worker", params={"url": one}, timeout=30, trust_env=False)
    assert (again.status_code, again.text) == (400, f"Worker {one} already exists")


def is_dead(pid: int) -> bool:
    """Whether nothing but its entry in the table of processes is left of it, at most."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_a_server_that_dies_takes_all_its_ranks_out(router: Router, hosts: list[str]) -> None:
    one, two = hosts
    pid = httpx.get(f"{one}/sim/state", timeout=30, trust_env=False).json()["pid"]
    os.kill(pid, signal.SIGKILL)
    # Its sockets are open until it has ended, which takes a moment: what is sent meanwhile is lost with it.
    eventually(lambda: is_dead(pid), "its end")
    # No request is lost meanwhile: none of them comes to a rank of a server that is known to be dead.
    assert set(chosen(router, 20)) == set(ids(two))
    wait_for(router, {**dict.fromkeys(ids(one), "unhealthy"), **dict.fromkeys(ids(two), "ready")})


def test_another_number_of_ranks_needs_another_control_plane_only(tmp_path: Path, hosts: list[str]) -> None:
    """What operators changed holds; requests that run at the workers of before end there."""
    one, two = hosts
    with router_before(tmp_path, [one], "--expose-worker", "--policy=round_robin") as router:
        command(router, "add", two)
        command(router, "drain", two)
        planes = router.plane_pids()
        with Load(router.url, 4) as load:
            router.kill_supervisor()
            router.start(f"--intra-node-data-parallel-size={RANKS}").ready()
            wait_for(router, {**dict.fromkeys(ids(one), "ready"), **dict.fromkeys(ids(two), "draining")})
            eventually(lambda: set(chosen(router, 10)) == set(ids(one)), "requests at both ranks")
        assert load.failed == []
        assert router.plane_pids() == planes
        refused = subprocess.run(
            (sys.executable, "-m", "controlplane.cli", "config", "diff", os.devnull, _file(tmp_path)),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "control plane" in refused.stdout


def _file(folder: Path) -> str:
    path = folder / "router.toml"
    path.write_text("intra_node_data_parallel_size = 2\n")
    return str(path)


def test_kv_events_of_a_rank_lead_to_that_rank(tmp_path: Path, hosts: list[str]) -> None:
    flags = (f"--intra-node-data-parallel-size={RANKS}", "--policy=kv_aware", "--expose-worker")
    prompt = list(range(320))
    with router_before(tmp_path, hosts, *flags) as router:
        url = f"{hosts[1]}/v1/completions"
        httpx.post(url, json=BODY | {"prompt": prompt}, headers={HEADER: "1"}, timeout=30, trust_env=False)

        def held() -> dict[str, list[int]]:
            told = workers(router).items()
            return {key: [kv["rank"] for kv in worker["kv"] if kv["blocks"]] for key, worker in told if worker["kv"]}

        def at(found: dict[str, list[int]]) -> dict[str, list[int]]:
            return {key: ranks for key, ranks in found.items() if ranks}

        eventually(lambda: at(held()) == {f"{hosts[1]}@1": [1]}, "the blocks of one rank")

        def answered() -> str:
            return ask(router, prompt=prompt).headers["x-routerctl-worker"]

        eventually(lambda: {answered() for _ in range(5)} == {f"{hosts[1]}@1"}, "requests at that rank")
