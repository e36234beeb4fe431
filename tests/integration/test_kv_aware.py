"""kv_aware from engines' KV events to requests: what no plane has sent is known to all of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.routers import Router, eventually, router_before, simulated_fleet
from tests.integration.test_policies import decisions
from tests.sim_tokenizer import write_tokenizer

WORDS = " ".join(f"word{number} of a rather long prompt" for number in range(40))
IDS, OTHERS = {"prompt": list(range(500, 900))}, {"prompt": list(range(1500, 1900))}
BLOCKS = 25
"""Full blocks of 16 in each of them."""
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
ROUNDS = 12
PLANES = 2


def ask(url: str, body: dict[str, Any], path: str = COMPLETIONS) -> httpx.Response:
    """Send a request over a connection of its own, so that any plane may get it."""
    answer = httpx.post(f"{url}{path}", json={"max_tokens": 1, **body}, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer


def chosen(router: Router, body: dict[str, Any], path: str = COMPLETIONS) -> set[str]:
    """The workers that some requests went to."""
    return {ask(router.url, body, path).headers["x-routerctl-worker"] for _ in range(ROUNDS)}


def blocks(router: Router) -> tuple[dict[str, float], list[float]]:
    """Blocks by worker, as the control plane knows, and in each plane's copy."""
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    by_worker = {sample.labels["worker"]: sample.value for sample in families.get("routerctl_kv_blocks", ())}
    return by_worker, [sample.value for sample in families["routerctl_plane_kv_blocks"]]


def wait_for_blocks(router: Router, wanted: dict[str, int]) -> None:
    """Wait until the control plane and all planes know of so many blocks."""

    def known() -> bool:
        by_worker, in_planes = blocks(router)
        held = {worker: count for worker, count in by_worker.items() if count}
        return held == wanted and in_planes == [sum(wanted.values())] * PLANES

    eventually(known, f"{wanted}")


@contextmanager
def fleet_and_router(folder: Path, *arguments: str, workers: int = 3) -> Iterator[tuple[list[str], Router]]:
    with (
        simulated_fleet(folder, workers, "--time-scale=0", "--kv-events") as urls,
        router_before(folder, urls, "--policy=kv_aware", "--expose-worker", *arguments, planes=PLANES) as router,
    ):
        yield urls, router


def test_every_plane_follows_what_engines_hold(tmp_path: Path) -> None:
    """Prompts go to a worker that got them from somebody else; nobody but the engine could tell."""
    folder = write_tokenizer(tmp_path / "model", [WORDS])
    with fleet_and_router(tmp_path, f"--tokenizer={folder}") as (urls, router):
        messages = [{"role": "user", "content": WORDS}]
        usage = ask(urls[2], {"messages": messages}, CHAT).json()["usage"]
        chat = usage["prompt_tokens"] // 16
        wait_for_blocks(router, {urls[2]: chat})
        assert chosen(router, {"messages": messages}, CHAT) == {urls[2]}
        longer = [*messages, {"role": "assistant", "content": "word1"}, *messages]
        assert chosen(router, {"messages": longer}, CHAT) == {urls[2]}
        ask(urls[1], {"prompt": WORDS})
        eventually(lambda: blocks(router)[0][urls[1]] > 0, "the text's blocks")
        held = {worker: int(count) for worker, count in blocks(router)[0].items() if count}
        wait_for_blocks(router, held)
        assert chosen(router, {"prompt": WORDS}) == {urls[1]}


def test_token_ids_need_no_tokenizer(tmp_path: Path) -> None:
    with fleet_and_router(tmp_path) as (urls, router):
        ask(urls[1], IDS)
        ask(urls[2], OTHERS)
        wait_for_blocks(router, {urls[1]: BLOCKS, urls[2]: BLOCKS})
        assert chosen(router, IDS) == {urls[1]}
        assert chosen(router, OTHERS) == {urls[2]}


def test_a_prompt_that_can_not_be_read_says_so(tmp_path: Path) -> None:
    """The log and the metrics name what is missing, and who chooses instead."""
    with fleet_and_router(tmp_path) as (urls, router):
        chosen(router, {"prompt": WORDS})
        lack = "policy kv_aware: no engine has told what it holds; requests go by cache_aware"
        eventually(lambda: lack in router.errors, "the first reason in the log")
        ask(urls[1], IDS)
        eventually(lambda: blocks(router)[0].get(urls[1], 0) >= BLOCKS, "the blocks")
        eventually(lambda: min(blocks(router)[1]) >= BLOCKS, "the planes' blocks")
        assert len(chosen(router, {"prompt": WORDS})) == 1
        lack = (
            "policy kv_aware: prompts can not be read without the model's tokenizer; give its folder with --tokenizer"
        )
        eventually(lambda: lack in router.errors, "the second reason in the log")

        def is_counted() -> bool:
            counts = decisions(router)
            # A plane whose blocks have just gone stale still lacks those in the first place.
            unread, unknown = counts.get("no_tokenizer", 0), counts.get("no_events", 0)
            return unread > 0 and unread + unknown == 2 * ROUNDS

        eventually(is_counted, "the count of such choices")


def test_a_cache_that_was_cleared_is_not_gone_after(tmp_path: Path) -> None:
    with fleet_and_router(tmp_path) as (urls, router):
        ask(urls[0], IDS)
        wait_for_blocks(router, {urls[0]: BLOCKS})
        assert httpx.post(f"{urls[0]}/sim/reset_prefix_cache", trust_env=False).status_code == 200
        wait_for_blocks(router, {})
        ask(urls[1], IDS)
        wait_for_blocks(router, {urls[1]: BLOCKS})
        assert chosen(router, IDS) == {urls[1]}


def test_a_new_control_plane_learns_what_was_published_before(tmp_path: Path) -> None:
    """G-KV-4: with the control plane gone planes go on with what they know; its successor asks for what it missed."""
    with fleet_and_router(tmp_path) as (urls, router):
        ask(urls[1], IDS)
        wait_for_blocks(router, {urls[1]: BLOCKS})
        pid = router.control_plane_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert chosen(router, IDS) == {urls[1]}
        ask(urls[2], OTHERS)
        eventually(lambda: router.control_plane_pid() not in (None, pid), "another control plane")
        eventually(lambda: _answers(router), "its metrics")
        wait_for_blocks(router, {urls[1]: BLOCKS, urls[2]: BLOCKS})
        assert chosen(router, IDS) == {urls[1]}
        assert chosen(router, OTHERS) == {urls[2]}


def _answers(router: Router) -> bool:
    try:
        return len(blocks(router)[1]) == PLANES
    except (httpx.TransportError, KeyError):
        return False


def test_sources_may_be_named(tmp_path: Path) -> None:
    with simulated_fleet(tmp_path, 2, "--time-scale=0", "--kv-events") as urls:
        told = httpx.get(f"{urls[1]}/kv_event_sources", trust_env=False).json()["0"]
        events, replays = (told[key].replace("*", "127.0.0.1") for key in ("endpoint", "replay_endpoint"))
        sources = (f"--kv-event-source={urls[1]}={events}", f"--kv-event-replay-source={urls[1]}={replays}")
        arguments = ("--policy=kv_aware", "--expose-worker", *sources)
        # Published before anybody listened: only a replay can tell of it.
        ask(urls[1], IDS)
        with router_before(tmp_path, urls, *arguments, planes=PLANES) as router:
            wait_for_blocks(router, {urls[1]: BLOCKS})
            assert chosen(router, IDS) == {urls[1]}
            [one] = [worker for worker in _status(router)["workers"] if worker["url"] == urls[1]]
            assert one["kv"] == [
                {
                    "rank": 0,
                    "blocks": BLOCKS,
                    "block_size": 16,
                    "lost": {"orphans": 0, "over_limit": 0, "unusable": 0},
                    "purges": 0,
                }
            ]


def _status(router: Router) -> Any:
    return httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).json()


def test_workers_without_events_are_named(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--time-scale=0") as urls,
        router_before(tmp_path, urls, "--policy=kv_aware", planes=PLANES) as router,
    ):
        ask(router.url, IDS)
        for url in urls:
            eventually(lambda url=url: f"worker {url} tells no KV events" in router.errors, url)  # type: ignore[misc]


def test_a_reload_takes_the_policy_up_and_leaves_it(tmp_path: Path) -> None:
    config = tmp_path / "router.toml"
    config.write_text('policy = "round_robin"\n')
    arguments = (f"--config={config}", "--expose-worker", f"--data-planes={PLANES}", "--worker-urls")
    with (
        simulated_fleet(tmp_path, 2, "--time-scale=0", "--kv-events") as urls,
        # The policy is the file's to say.
        closing(Router(tmp_path, *arguments, *urls, policy=None)) as router,
    ):
        router.start().ready()
        ask(urls[1], IDS)
        assert blocks(router) == ({}, [0.0] * PLANES)
        for policy, known in (("kv_aware", {urls[1]: BLOCKS}), ("round_robin", {}), ("kv_aware", {urls[1]: BLOCKS})):
            config.write_text(f'policy = "{policy}"\n')
            answer = httpx.post(f"http://127.0.0.1:{router.admin_port}/reload", trust_env=False, timeout=30)
            assert answer.status_code == 200, answer.text
            wait_for_blocks(router, known)
            assert policy != "kv_aware" or chosen(router, IDS) == {urls[1]}
