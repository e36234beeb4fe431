"""What vllm-router's own integration tests ask of a router over HTTP, written anew, with its flags only.

Each starts a router by the command line that these tests use, before workers that fail, lag or die, and looks at what
clients get and who answered. Where routerctl is meant to do otherwise, the test says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.test_breaker import breaker, fault, heal, transitions
from tests.integration.routers import Router, eventually, simulated_fleet

pytestmark = pytest.mark.slow

COMPLETIONS = "/v1/completions"
QUICK_BREAKER = ("--cb-failure-threshold=2", "--cb-success-threshold=1", "--cb-timeout-duration-secs=2")
BROKEN: dict[str, object] = {"name": "status", "status": 500}
BUSY: dict[str, object] = {"name": "status", "status": 503}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 3, "--time-scale=0") as urls:
        yield urls


@pytest.fixture(autouse=True)
def healed(fleet: list[str]) -> Iterator[None]:
    yield
    for number in range(len(fleet)):
        # One that is dead is healed through a neighbour.
        for neighbour in fleet:
            try:
                httpx.delete(f"{neighbour}/sim/workers/{number}/faults", trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                continue


@contextmanager
def started(folder: Path, workers: list[str], *flags: str, policy: str = "round_robin") -> Iterator[Router]:
    """A router whose workers are all ready; `/health` is asked as those tests ask it."""
    urls = ("--worker-urls", *workers) if workers else ()
    flags = ("--data-planes=1", "--expose-worker", "--slow-start-secs=0", *flags)
    router = Router(folder, "--host=127.0.0.1", "--prometheus-host=127.0.0.1", *flags, *urls, policy=policy)
    try:
        router.start()

        def is_healthy() -> bool:
            try:
                answer = httpx.get(f"{router.url}/health", timeout=5)
            except httpx.TransportError:
                return False
            return answer.text == "All servers healthy"

        eventually(is_healthy, "all servers to be healthy")
        yield router
    finally:
        router.close()


def ask(router: Router, prompt: object = "Once upon a time", **headers: str) -> httpx.Response:
    body = {"model": "sim-model", "prompt": prompt, "max_tokens": 2}
    return httpx.post(router.url + COMPLETIONS, json=body, headers=headers, timeout=30)


def who(answer: httpx.Response) -> str:
    return answer.headers["x-routerctl-worker"]


def shares(router: Router, count: int) -> Counter[str]:
    """How many of so many requests each worker answered, whatever it answered."""
    return Counter(who(ask(router, f"Request {number}")) for number in range(count))


# --- balance ----------------------------------------------------------------------------------------------


def test_round_robin_gives_each_the_same(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet) as router:
        assert shares(router, 12) == dict.fromkeys(fleet, 4)


def test_random_reaches_all(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet, policy="random") as router:
        assert set(shares(router, 60)) == set(fleet)


def test_power_of_two_prefers_the_faster(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet, policy="power_of_two") as router:
        fault(fleet[0], {"name": "slow", "seconds": 0.5})
        with ThreadPoolExecutor(12) as pool:
            found = Counter(who(answer) for answer in pool.map(lambda n: ask(router, f"Request {n}"), range(120)))
        assert (found[fleet[1]] + found[fleet[2]]) / 2 >= 1.2 * found[fleet[0]]


def test_cache_aware_keeps_a_prefix_at_its_worker(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet, policy="cache_aware") as router:
        for topic in ("whales", "trains", "clouds", "bread"):
            prefix = f"All that is known about {topic}. " * 100
            assert len({who(ask(router, f"{prefix}{number}")) for number in range(6)}) == 1


def test_consistent_hash_keeps_a_session_at_its_worker(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet, policy="consistent_hash") as router:
        found = {}
        for session in range(24):
            name = f"session-{session}"
            answers = [who(ask(router, f"Turn {turn}", **{"x-session-id": name})) for turn in range(3)]
            assert len(set(answers)) == 1
            found[name] = answers[0]
        assert set(found.values()) == set(fleet)


# --- retries and faults -----------------------------------------------------------------------------------


def test_a_request_that_a_worker_refuses_goes_to_another(tmp_path: Path, fleet: list[str]) -> None:
    fault(fleet[0], {**BUSY, "first": 3})
    with started(tmp_path, fleet, "--retry-max-retries=3", "--retry-initial-backoff-ms=10") as router:
        assert [ask(router).status_code for _ in range(9)] == [200] * 9


def test_without_retries_the_client_gets_the_workers_answer(tmp_path: Path, fleet: list[str]) -> None:
    fault(fleet[0], BUSY)
    with started(tmp_path, fleet, "--disable-retries", "--disable-circuit-breaker") as router:
        assert Counter(ask(router).status_code for _ in range(9)) == {200: 6, 503: 3}


def test_a_worker_that_dies_costs_no_request(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet) as router:
        fault(fleet[0], {"name": "die", "worker": True})
        answers = [ask(router) for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        assert {who(answer) for answer in answers} == set(fleet[1:])


def test_a_body_over_the_limit_is_413(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet[:1], "--max-payload-size=2000") as router:
        assert ask(router, "a" * 1000).status_code == 200
        assert ask(router, "a" * 3000).status_code == 413


# --- circuit breaker --------------------------------------------------------------------------------------


def test_a_breaker_opens_and_recovers(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet, "--disable-retries", *QUICK_BREAKER) as router:
        fault(fleet[0], BROKEN)
        opened(router, fleet[0])
        eventually(lambda: fleet[0] not in shares(router, 6), "the others to answer alone")
        heal(fleet[0])
        eventually(lambda: set(shares(router, 6)) == set(fleet), "the worker to answer again")


def test_a_failure_while_half_open_opens_it_again(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet, "--disable-retries", *QUICK_BREAKER) as router:
        fault(fleet[0], BROKEN)
        opened(router, fleet[0])

        def is_open_again() -> bool:
            shares(router, 3)
            return transitions(router, fleet[0], "open") >= 2

        eventually(is_open_again, "a probe to fail")


def test_without_breakers_a_failing_worker_keeps_its_share(tmp_path: Path, fleet: list[str]) -> None:
    fault(fleet[0], BROKEN)
    flags = ("--disable-retries", "--disable-circuit-breaker", "--disable-ejection", *QUICK_BREAKER)
    with started(tmp_path, fleet, *flags) as router:
        assert shares(router, 30) == dict.fromkeys(fleet, 10)


def test_a_breaker_is_one_workers(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet, "--disable-retries", *QUICK_BREAKER) as router:
        fault(fleet[0], BROKEN)
        opened(router, fleet[0])
        eventually(lambda: shares(router, 12) == dict.fromkeys(fleet[1:], 6), "both others to have all requests")
        assert [breaker(router, worker) for worker in fleet[1:]] == [0, 0]


def test_with_retries_clients_see_nothing_of_it(tmp_path: Path, fleet: list[str]) -> None:
    fault(fleet[0], BUSY)
    with started(tmp_path, fleet, "--retry-max-retries=3", *QUICK_BREAKER) as router:

        def is_open() -> bool:
            assert {ask(router).status_code for _ in range(6)} == {200}
            return breaker(router, fleet[0]) > 0

        eventually(is_open, "the breaker to open")


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_4xx_is_no_failure(tmp_path: Path, fleet: list[str], status: int) -> None:
    fault(fleet[0], {"name": "status", "status": status})
    with started(tmp_path, fleet, *QUICK_BREAKER) as router:
        assert Counter(ask(router).status_code for _ in range(30)) == {200: 20, status: 10}
        assert transitions(router, fleet[0], "open") == 0


def opened(router: Router, worker: str) -> None:
    def is_open() -> bool:
        shares(router, 6)
        return breaker(router, worker) > 0

    eventually(is_open, "the breaker to open")


# --- limits -----------------------------------------------------------------------------------------------


def at_once(router: Router, count: int) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda number: ask(router, f"Request {number}"), range(count)))


def check_refusals(answers: list[httpx.Response], status: int) -> None:
    refused = [answer for answer in answers if answer.status_code == status]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


def test_without_a_queue_what_is_over_the_limit_is_refused(tmp_path: Path, fleet: list[str]) -> None:
    """429 there, where the limit is one of a rate; 503 here, where it is one of requests at a time."""
    with started(tmp_path, fleet[:1], "--max-concurrent-requests=1", "--queue-size=0") as router:
        fault(fleet[0], {"name": "slow", "seconds": 3.0})
        answers = at_once(router, 4)
        assert {answer.status_code for answer in answers} == {200, 503}
        check_refusals(answers, 503)


def test_over_the_rate_is_429(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet[:1], "--rate-limit-tokens-per-second=1", "--queue-size=0") as router:
        answers: list[httpx.Response] = []

        def some_are_over() -> bool:
            answers[:] = at_once(router, 8)
            return {answer.status_code for answer in answers} == {200, 429}

        # A rate is empty at the start, so that nothing is gained by starting anew.
        eventually(some_are_over, "one to be let in, and the others not")
        check_refusals(answers, 429)


def test_one_may_wait_for_so_long(tmp_path: Path, fleet: list[str]) -> None:
    """408 there for who waited in vain, and here 504."""
    flags = ("--max-concurrent-requests=1", "--queue-size=1", "--queue-timeout-secs=1")
    with started(tmp_path, fleet[:1], *flags) as router:
        fault(fleet[0], {"name": "slow", "seconds": 6.0})
        answers = at_once(router, 4)
        assert {answer.status_code for answer in answers} == {200, 503, 504}
        check_refusals(answers, 503)


# --- workers ----------------------------------------------------------------------------------------------


def test_workers_are_added_listed_and_removed(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet[:1]) as router:

        def listed() -> list[str]:
            urls: list[str] = httpx.get(f"{router.url}/list_workers").json()["urls"]
            return sorted(urls)

        assert listed() == fleet[:1]
        added = httpx.post(f"{router.url}/add_worker", params={"url": fleet[1]}, timeout=30)
        assert (added.status_code, added.text) == (200, f"Successfully added worker: {fleet[1]}")
        eventually(lambda: set(shares(router, 4)) == set(fleet[:2]), "both to answer")
        removed = httpx.post(f"{router.url}/remove_worker", params={"url": fleet[0]}, timeout=30)
        assert (removed.status_code, removed.text) == (200, f"Successfully removed worker: {fleet[0]}")
        eventually(lambda: listed() == fleet[1:2], "the first to be gone")
        assert set(shares(router, 4)) == {fleet[1]}


def test_a_workers_own_fields_reach_the_client(tmp_path: Path, fleet: list[str]) -> None:
    with started(tmp_path, fleet[:1]) as router:
        answer = httpx.get(f"{router.url}/sim/echo", params={"header": "x-worker-id:w1", "bytes": "3"})
        assert (answer.status_code, answer.headers["x-worker-id"]) == (200, "w1")


def test_the_key_that_workers_ask_for_goes_with_each_request(tmp_path: Path, fleet: list[str]) -> None:
    key = tmp_path / "key"
    key.write_text("sk-worker\n")
    key.chmod(0o600)
    with started(tmp_path, fleet[:1], f"--api-key-file={key}") as router:
        ask(router, authorization="Bearer sk-client")
        records: dict[str, Any] = httpx.get(f"{fleet[0]}/sim/requests", trust_env=False).json()
        assert "sk-worker" in str(records)
        assert "sk-client" not in str(records)


# --- prefill and decode -----------------------------------------------------------------------------------


def test_all_decode_workers_but_one_at_most_have_requests(tmp_path: Path) -> None:
    with simulated_fleet(tmp_path, 5, "--time-scale=0", "--kv-connector=nixl") as urls:
        prefill = [word for url in urls[:2] for word in ("--prefill", url, "none")]
        decode = [word for url in urls[2:] for word in ("--decode", url)]
        flags = ("--vllm-pd-disaggregation", *prefill, *decode, "--decode-policy=power_of_two")
        with started(tmp_path, [], *flags) as router:
            found = shares(router, 30)
            assert len(set(found) & set(urls[2:])) >= 2
            assert not set(found) & set(urls[:2])
