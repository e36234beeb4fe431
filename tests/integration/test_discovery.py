"""Workers that register over ZeroMQ, with a real router and simulated workers that ping as vLLM's do."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
import zmq

from controlplane.discovery.registrations import MAX_WORKERS
from shared.registration import Accepted, Goodbye, Hello, decode_from_router, encode_registration
from tests.integration.routers import Router, eventually, free_ports, samples, simulated_fleet
from tests.unit.controlplane.discovery.test_zmtp import HANDSHAKE, short

NCCL = ("--kv-connector=nccl", "--time-scale=0", "--ping-secs=0.5")


class Discovering:
    """A router at which two prefill workers and a decode worker register."""

    def __init__(self, router: Router, address: str, prefill: list[str], decode: list[str]) -> None:
        self.router = router
        self.address = address
        self.prefill = prefill
        self.decode = decode
        self.admin = f"http://127.0.0.1:{router.admin_port}"

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return what the control plane says of each; nothing while there is none."""
        try:
            answer = httpx.get(f"{self.admin}/workers", trust_env=False)
        except httpx.TransportError:
            return {}
        return {worker["id"]: worker for worker in answer.json()["workers"]}

    def states(self, *names: str) -> dict[str, tuple[Any, ...]]:
        return {key: tuple(worker[name] for name in names) for key, worker in self.workers().items()}

    def all_ready(self) -> bool:
        expected = dict.fromkeys(self.prefill, ("zmq", "prefill", "ready"))
        expected |= dict.fromkeys(self.decode, ("zmq", "decode", "ready"))
        return self.states("source", "role", "state") == expected

    def all_served(self) -> bool:
        told = httpx.get(f"{self.router.url}/readiness", trust_env=False).json()
        healthy = (told["prefill"]["healthy"], told["decode"]["healthy"])
        return healthy == (len(self.prefill), len(self.decode))

    def ask(self, method: str, worker: str, verb: str = "") -> None:
        url = f"{self.admin}/workers/{quote(worker, safe='')}{verb}"
        answer = httpx.request(method, url, trust_env=False)
        assert answer.is_success, answer.text


@contextmanager
def dealer(address: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as one:
        one.setsockopt(zmq.LINGER, 0)
        one.setsockopt(zmq.RCVTIMEO, 30_000)
        one.connect(address)
        yield one


@pytest.fixture(scope="module")
def discovering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Discovering]:
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:

        def fleet(role: str, count: int) -> list[str]:
            folder = tmp_path_factory.mktemp(role)
            arguments = (*NCCL, f"--kv-role={role}", f"--register={address}")
            return stack.enter_context(simulated_fleet(folder, count, *arguments))

        router = Router(
            tmp_path_factory.mktemp("router"),
            "--data-planes=1",
            f"--vllm-discovery-address=127.0.0.1:{port}",
        )
        stack.callback(router.close)
        router.start().ready()
        found = Discovering(router, address, fleet("kv_producer", 2), fleet("kv_consumer", 1))
        eventually(found.all_ready, "all workers to be ready")
        eventually(found.all_served, "the plane to have them")
        yield found


def test_a_request_goes_from_a_prefill_to_a_decode_worker_that_registered(discovering: Discovering) -> None:
    body = {"model": "sim-model", "prompt": "one two three " * 20, "max_tokens": 8}
    plain = httpx.post(f"{discovering.router.url}/v1/completions", json=body, trust_env=False, timeout=30)
    assert plain.status_code == 200, plain.text

    def served(url: str) -> int:
        received: int = httpx.get(f"{url}/sim/state", trust_env=False).json()["engine"]["prompt_tokens"]
        return received

    # One of P2pNccl's dies of a request that names no addresses, and says nothing without the other's KV cache.
    assert sum(map(served, discovering.prefill)) > 0
    assert served(discovering.decode[0]) > 0


def test_they_are_workers_like_all_others(discovering: Discovering) -> None:
    url = discovering.router.url
    assert httpx.get(f"{url}/readiness", trust_env=False).status_code == 200
    models = httpx.get(f"{url}/v1/models", trust_env=False).json()
    assert [model["id"] for model in models["data"]] == ["sim-model"]
    eventually(lambda: samples(discovering.router).get("routerctl_discovery_workers") == 3, "the metric")
    worker = discovering.prefill[0]
    discovering.ask("POST", worker, "/drain")
    eventually(lambda: discovering.workers()[worker]["state"] == "draining", "the drain")
    discovering.ask("POST", worker, "/undrain")
    eventually(discovering.all_ready, "the worker in service again")


def test_one_that_was_removed_stays_away_until_it_is_wanted(discovering: Discovering) -> None:
    worker = discovering.prefill[1]
    discovering.ask("DELETE", worker)
    eventually(lambda: worker not in discovering.workers(), "the worker to be gone")
    before = samples(discovering.router)["routerctl_discovery_messages_total"]
    eventually(
        lambda: samples(discovering.router)["routerctl_discovery_messages_total"] > before + 3, "pings of all workers"
    )
    assert worker not in discovering.workers()
    answer = httpx.post(f"{discovering.admin}/workers", json={"url": worker}, trust_env=False)
    assert answer.is_success, answer.text
    eventually(lambda: discovering.states("role", "state").get(worker) == ("prefill", "ready"), "the worker")


def test_what_is_broken_or_forged_is_counted_and_changes_nothing_g_disc_2(discovering: Discovering) -> None:
    before = set(discovering.workers())
    forged = {"type": "P", "http_address": "169.254.169.254:80", "zmq_address": "127.0.0.1:1"}
    refused = samples(discovering.router)["routerctl_discovery_refused_total"]
    with dealer(discovering.address) as one:
        for message in (b"", b"\xc1", msgspec.msgpack.encode(forged), b"\x92\x02\x80", b"x" * 5000):
            one.send(message)
        # Version 2 is told what is wrong; the others speak a protocol without answers.
        assert b"refused" in one.recv()
        eventually(
            lambda: samples(discovering.router)["routerctl_discovery_refused_total"] >= refused + 5, "all to be counted"
        )
        one.send(b"x" * 20_000)
        eventually(
            lambda: samples(discovering.router)["routerctl_discovery_refused_total"] >= refused + 6, "the large one"
        )
    assert set(discovering.workers()) == before


def test_a_registration_of_version_2_and_its_goodbye(discovering: Discovering, tmp_path: Path) -> None:
    with simulated_fleet(tmp_path, 1, "--time-scale=0") as (url,), dealer(discovering.address) as one:
        hello = Hello(registrar="r1", seq=1, url=url, ask=True, epoch=7, role="decode", labels={"zone": "a"})
        one.send(encode_registration(hello))
        assert decode_from_router(one.recv()) == Accepted(seq=1)
        ready = ("zmq", "decode", "ready", {"zone": "a"})
        eventually(lambda: discovering.states("source", "role", "state", "labels").get(url) == ready, "the worker")
        one.send(encode_registration(Goodbye(registrar="r1", seq=2, url=url, ask=True, reason="SIGTERM")))
        assert decode_from_router(one.recv()) == Accepted(seq=2)
        eventually(lambda: url not in discovering.workers(), "the worker to be gone")


def test_another_control_plane_has_them_before_they_ping(discovering: Discovering) -> None:
    for url in (*discovering.prefill, *discovering.decode):
        httpx.post(f"{url}/sim/faults", json={"name": "lost_pings"}, trust_env=False).raise_for_status()
    there = discovering.states("role", "state")
    pid = discovering.router.control_plane_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: discovering.router.control_plane_pid() not in (None, pid), "another control plane")
    eventually(lambda: discovering.states("role", "state") == there, "the same workers")
    for url in (*discovering.prefill, *discovering.decode):
        httpx.delete(f"{url}/sim/faults", trust_env=False).raise_for_status()


@pytest.mark.slow
def test_lost_late_and_missing_pings_remove_nobody_who_is_well_g_disc_1(tmp_path: Path) -> None:
    """And one that is dead as well goes."""
    (port,) = free_ports(1)
    arguments = ("--kv-connector=moriio", "--kv-role=kv_consumer", "--time-scale=0")
    with simulated_fleet(tmp_path, 3, *arguments, f"--register=tcp://127.0.0.1:{port}") as urls:
        router = Router(tmp_path, "--data-planes=1", f"--vllm-discovery-address=127.0.0.1:{port}")
        try:
            router.start().ready()
            found = Discovering(router, "", [], urls)
            eventually(found.all_ready, "all workers to be ready")

            def fault(url: str, said: dict[str, object]) -> None:
                httpx.post(f"{url}/sim/faults", json=said, trust_env=False).raise_for_status()

            fault(urls[0], {"name": "lost_pings"})
            fault(urls[1], {"name": "lost_pings", "probability": 0.6})
            fault(urls[1], {"name": "late_pings", "seconds": 2})
            end = time.monotonic() + 60
            while time.monotonic() < end:
                assert found.all_ready()
                time.sleep(0.2)
            fault(urls[2], {"name": "die", "worker": True})
            eventually(lambda: found.states("state").get(urls[2]) == ("unhealthy",), "the dead one to be out")
            eventually(lambda: set(found.workers()) == set(urls[:2]), "the dead one to be gone")
        finally:
            router.close()


def resident(pid: int) -> int:
    """Return the memory of a process in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.slow
def test_a_flood_costs_at_most_20_mb_and_nobody_his_place_g_disc_2(discovering: Discovering) -> None:
    """Endless messages, half ones, thousands of new identities, and what is not ZeroMQ, all at once for a while."""
    pid = discovering.router.control_plane_pid()
    assert pid is not None
    real = {url: state for url, state in discovering.states("role", "state").items() if state[1] == "ready"}
    port = int(discovering.address.rpartition(":")[2])
    endless = short(b"A" * 200, 1) * 100
    half = b"\x02" + (16_000).to_bytes(8, "big") + b"x" * 15_000
    before, ends, number = resident(pid), time.monotonic() + 20, 0
    with ExitStack() as stack:
        held: list[ExitStack] = []
        while time.monotonic() < ends:
            number += 1
            forged = b"".join(
                short(msgspec.msgpack.encode({"type": "P", "http_address": address, "zmq_address": address}))
                for address in (f"127.77.{number % 250}.{one}:1" for one in range(1, 100))
            )
            for data in (HANDSHAKE + endless, HANDSHAKE + half, HANDSHAKE + forged, b"GET / HTTP/1.1\r\n\r\n"):
                connection = stack.enter_context(ExitStack())
                plain = connection.enter_context(socket.socket())
                plain.bind((f"127.9.{number % 20}.1", 0))
                plain.settimeout(0.05)
                with suppress(OSError):
                    plain.connect(("127.0.0.1", port))
                    plain.send(data)
                    held.append(connection)
            while len(held) > 500:
                held.pop(0).close()
        grown = resident(pid) - before
        there = discovering.states("role", "state")
    assert {url: there.get(url) for url in real} == real
    assert len(there) <= MAX_WORKERS
    assert grown <= 20e6, f"{grown / 1e6:.1f} MB more"
