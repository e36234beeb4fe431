"""G-PD-1 for every connector: one real router, reloaded for each, before simulated workers that do as engines do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec
import pytest

from controlplane.sim import SimConfig, serve
from tests.integration.routers import Router, eventually, simulated_fleet
from tests.integration.test_prefill_decode import text_of

PROMPTS = ("Tell me of the things that there are, all of them, one after the other.", "Short.")


class Case(NamedTuple):
    """A connector of the router, and what its workers run."""

    connector: str
    workers: SimConfig
    has_roles: bool = False

    @property
    def name(self) -> str:
        return f"{self.connector}-{self.workers.kv_mode}" if self.connector == "moriio" else self.connector


def case(connector: str, mode: str = "write", *, has_roles: bool = False) -> Case:
    workers = SimConfig(port=0, bootstrap_port=0, count=2, time_scale=0, kv_connector=connector, kv_mode=mode)
    return Case(connector, workers, has_roles)


CASES = (
    case("nixl"),
    case("nixl_push"),
    case("mooncake", has_roles=True),
    case("moriio", "read", has_roles=True),
    case("moriio", has_roles=True),
    case("nccl", has_roles=True),
    case("example"),
    case("lmcache"),
)


@contextmanager
def served(config: SimConfig) -> Iterator[list[str]]:
    """Simulated workers in a thread of this process, which costs less than a process of their own."""
    urls: list[str] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()

    def take(found: list[str]) -> None:
        urls.extend(found)
        ready.set()

    serving = loop.create_task(serve(config, ready=take))

    def run() -> None:
        try:
            loop.run_until_complete(serving)
        except asyncio.CancelledError:
            loop.close()
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield urls
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join()


@contextmanager
def fleet(of: Case) -> Iterator[tuple[list[str], list[str]]]:
    """Two prefill and two decode workers."""
    roles = ("kv_producer", "kv_consumer") if of.has_roles else ("kv_both", "kv_both")
    if of.connector in ("example", "lmcache"):
        # They find what others of their process have computed.
        with served(msgspec.structs.replace(of.workers, count=4)) as urls:
            yield urls[:2], urls[2:]
        return
    prefill, decode = (msgspec.structs.replace(of.workers, kv_role=role) for role in roles)
    with served(prefill) as senders, served(decode) as receivers:
        yield senders, receivers


def state(url: str) -> Any:
    return httpx.get(f"{url}/sim/state", trust_env=False).json()


def tables(of: Case, urls: list[str], role: str) -> Iterator[str]:
    for url in urls:
        told = state(url)
        transfer = {
            "bootstrap_port": told["bootstrap_port"],
            "address": f'"{told["zmq_address"]}"' if told["zmq_address"] else None,
            "mode": f'"{of.workers.kv_mode}"' if of.connector == "moriio" else None,
        }
        parts = ", ".join(f"{name} = {value}" for name, value in transfer.items() if value is not None)
        yield f'[[workers]]\nurl = "{url}"\nrole = "{role}"\ntransfer = {{ {parts} }}\n'


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("router")
    (folder / "routerctl.toml").write_text("vllm_pd_disaggregation = true\n")
    router = Router(folder, "--data-planes=1", f"--config={folder / 'routerctl.toml'}")
    try:
        router.start().ready()
        yield router
    finally:
        router.close()


def reload(router: Router, folder: Path, text: str) -> None:
    (folder / "routerctl.toml").write_text(text)
    answer = httpx.post(f"{admin(router)}/reload", trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text


def admin(router: Router) -> str:
    return f"http://127.0.0.1:{router.admin_port}"


def configure(router: Router, folder: Path, of: Case, prefill: list[str], decode: list[str]) -> None:
    lines = [f'kv_connector = "{of.connector}"', "vllm_pd_disaggregation = true", "pd_fallback = false"]
    text = "\n".join((*lines, *tables(of, prefill, "prefill"), *tables(of, decode, "decode")))
    reload(router, folder, text)

    # From here on the plane knows no other workers.
    def is_served() -> bool:
        told = httpx.get(f"{router.url}/readiness", trust_env=False).json()
        if (told["prefill"]["healthy"], told["decode"]["healthy"]) != (2, 2):
            return False
        body = {"model": "sim-model", "prompt": "x", "max_tokens": 1}
        return httpx.post(f"{router.url}/v1/completions", json=body, timeout=30, trust_env=False).status_code == 200

    eventually(is_served, "the plane to know all workers as ready, and a pair of them")


@pytest.mark.parametrize("of", CASES, ids=lambda of: of.name)
def test_g_pd_1_two_workers_say_what_one_says(router: Router, of: Case) -> None:
    plain = SimConfig(port=0, time_scale=0)
    with served(plain) as (alone,), fleet(of) as (prefill, decode), httpx.Client(timeout=30, trust_env=False) as client:
        configure(router, router.folder, of, prefill, decode)
        for prompt in PROMPTS:
            for chat in (True, False):
                for streamed in (True, False):
                    expected = text_of(client, alone, prompt, chat=chat, streamed=streamed)
                    assert text_of(client, router.url, prompt, chat=chat, streamed=streamed) == expected
        assert all(state(url)["engine"]["external_prefix_cache_hits"] for url in decode)
        kept = [state(url)["handoffs"] for url in prefill]
        if of.connector not in ("example", "lmcache"):
            assert sum(one["taken"] for one in kept) > 8
            assert sum(one["kept"] for one in kept) == 0


def test_a_prefill_worker_of_mooncake_is_found_again_after_a_restart(router: Router) -> None:
    of = next(case for case in CASES if case.connector == "mooncake")
    with fleet(of) as (prefill, decode), httpx.Client(timeout=30, trust_env=False) as client:
        configure(router, router.folder, of, prefill, decode)
        before = state(prefill[0])["engine_ids"]
        client.post(f"{prefill[0]}/sim/faults", json={"name": "die", "worker": True})
        admin = f"http://127.0.0.1:{router.admin_port}"

        def worker() -> Any:
            return client.get(f"{admin}/workers/{quote(prefill[0], safe='')}").json()

        eventually(lambda: worker()["state"] == "unhealthy", "the worker to be seen dead")
        client.delete(f"{prefill[1]}/sim/workers/0/faults")
        after = state(prefill[0])["engine_ids"]
        assert after != before
        eventually(lambda: worker()["transfer"].get("engine_ids") == {"0": after[0]}, "the engine's new id to be known")
        asked = state(prefill[0])["finished"]

        def is_used() -> bool:
            assert text_of(client, router.url, PROMPTS[0], chat=True, streamed=False)
            return bool(state(prefill[0])["finished"] > asked)

        eventually(is_used, "the worker to be in a pair again")


@pytest.mark.slow
def test_a_fleet_without_a_pair_says_so_by_itself(router: Router, tmp_path: Path) -> None:
    """In its status and readiness, and once in its log and events when it begins and when it ends."""

    def said() -> list[str]:
        events = httpx.get(f"{admin(router)}/events", params={"limit": 1000}, trust_env=False).json()["events"]
        return [event["text"] for event in events if "hand over to a decode worker" in event["text"]]

    def status() -> str:
        told = httpx.get(f"{admin(router)}/status", trust_env=False).json()["pairs"]
        return "" if told is None else str(told["missing"])

    before = len(said())
    with simulated_fleet(tmp_path, 4, "--time-scale=0", "--kv-connector=nixl") as urls:
        prefill, decode = urls[:2], urls[2:]
        lines = ['kv_connector = "nixl"', f"prefill = {[*prefill]}", "[[workers]]", f'url = "{decode[0]}"']
        tables = 'role = "decode"\ntransfer = { connector = "lmcache" }\n'
        reload(router, router.folder, "\n".join((*lines, tables)))
        why = f"{decode[0]} moves KV cache by lmcache, not by nixl"
        eventually(lambda: status() == why, "the status to say so")
        assert httpx.get(f"{router.url}/readiness", trust_env=False).json()["no_pair"] == "no two of them can be a pair"
        eventually(lambda: any(why in text for text in said()[before:]), "the event")
        configure(router, router.folder, case("nixl"), prefill, decode)
        eventually(lambda: "again" in said()[-1], "the event of its end")
