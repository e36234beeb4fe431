"""What the dashboard and the alerts ask for is on a real router's page of metrics, with the labels that they name.

The long version has a real Prometheus scrape real routers under load: every query has an answer.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import quote

import httpx
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.promql import Matcher, Selector, parse
from tests.docs.ready_made import RULES, alert_expressions, board_expressions, filled_in
from tests.integration.prometheus import prometheus, prometheus_path
from tests.integration.routers import Router, eventually, free_ports, router_before, simulated_fleet
from tests.integration.test_client_keys import Keys
from tests.integration.test_prefill_decode import router_before as pairs_router
from tests.integration.test_prefill_decode import two_and_two

SWITCHED_ON = ("routerctl_kv_", "routerctl_kubernetes_")
"""What begins so is there with `kv_aware`, and with discovery of pods, only."""
SUFFIXES = ("_total", "_info", "_bucket", "_count", "_sum")


def asked() -> set[Selector]:
    expressions = alert_expressions() + board_expressions()
    return {selector for _, expression in expressions for selector in parse(expression).selectors}


def page(router: Router) -> dict[str, Metric]:
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    return {family.name: family for family in text_string_to_metric_families(text)}


def family_of(name: str, families: dict[str, Metric]) -> Metric | None:
    for suffix in SUFFIXES:
        if name.endswith(suffix) and (found := families.get(name.removesuffix(suffix))) is not None:
            return found
    return families.get(name)


def is_known(name: str, matcher: Matcher, family: Metric) -> bool:
    """Whether series or the metric's help have every value that a matcher names."""
    values = {one.labels[matcher.label] for one in family.samples if matcher.label in one.labels}
    return all(
        value in family.documentation or any(re.fullmatch(value, one) for one in values)
        for value in matcher.value.split("|")
    )


def test_dashboard_and_alerts_ask_for_what_a_real_router_exports(
    router: Router, client: httpx.Client, fleet: list[str]
) -> None:
    def work() -> None:
        usage = {"include_usage": True}
        one = {"model": "sim-model", "prompt": "a b c", "max_tokens": 4, "stream": True, "stream_options": usage}
        for _ in fleet:
            assert client.post("/v1/completions", json=one).status_code == 200
        assert client.post("/v1/completions", json={**one, "model": "none"}).status_code == 404
        fault = {"name": "status", "status": 500, "first": 1}
        httpx.post(f"{fleet[0]}/sim/faults", json=fault, trust_env=False).raise_for_status()
        assert 500 in {client.post("/v1/completions", json=one).status_code for _ in fleet}

    def has_told() -> bool:
        ended = page(router).get("routerctl_requests")
        return ended is not None and {"200", "404", "500"} <= {one.labels["status"] for one in ended.samples}

    work()
    eventually(has_told, "the planes' figures")
    families = page(router)
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    checked = 0
    for name, matchers in asked():
        if name == "up" or name in recorded or name.startswith(SWITCHED_ON):
            continue
        family = family_of(name, families)
        assert family is not None, name
        samples = [one for one in family.samples if one.name == name]
        for matcher in matchers:
            if matcher.label == "instance" or "$" in matcher.value:
                continue
            assert is_known(name, matcher, family), (name, matcher)
            assert all(matcher.label in one.labels for one in samples), (name, matcher)
            checked += 1
    assert checked > 20


# --- with a real Prometheus ----------------------------------------------------------------------------------

MODELS = """
[models.chat]
split = [
  { to = "sim-model", labels = { zone = "a" }, weight = 1 },
  { to = "sim-model", labels = { zone = "b" }, weight = 1 },
]
"""
TOKENS = list(range(500, 900))


class Crowd:
    """Clients that each do one thing over and over while the block runs."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, url: str, send: Callable[[httpx.Client], object], headers: dict[str, str] | None = None) -> None:
        self._threads.append(threading.Thread(target=self._run, args=(url, send, headers)))

    def _run(self, url: str, send: Callable[[httpx.Client], object], headers: dict[str, str] | None) -> None:
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            while not self._stop.is_set():
                send(client)
                self._stop.wait(0.05)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def stream(client: httpx.Client, model: str = "sim-model", prompt: object = "a b c " * 20) -> None:
    usage = {"include_usage": True}
    body = {"model": model, "prompt": prompt, "max_tokens": 8, "stream": True, "stream_options": usage}
    client.post("/v1/completions", json=body)


def leave(client: httpx.Client) -> None:
    body = {"model": "sim-model", "prompt": "a", "max_tokens": 500, "stream": True}
    with client.stream("POST", "/v1/completions", json=body) as answer:
        next(answer.iter_raw(), None)


@pytest.mark.slow
@pytest.mark.skipif(prometheus_path() is None, reason="no prometheus: apt-get install prometheus")
@pytest.mark.timeout(400)
def test_every_query_has_an_answer_in_a_real_prometheus(tmp_path: Path) -> None:
    """A fleet with faults, limits, keys and arms, one of prefill and decode workers, and one with KV events."""
    folders = [tmp_path / name for name in ("plain", "pairs", "blocks", "prometheus")]
    for folder in folders:
        folder.mkdir()
    plain, pairs, blocks, own = folders
    keys = Keys(plain / "keys.toml")
    key = {"authorization": f"Bearer {keys.make('alice')}"}
    (plain / "router.toml").write_text(MODELS)
    (dead,) = free_ports(1)
    with ExitStack() as stack:
        enter = stack.enter_context
        faults = ("--fault=0:status=503,probability=0.3", "--fault=1:status=500,probability=0.3")
        workers = enter(simulated_fleet(plain, 3, *faults, "--enable-prompt-tokens-details"))
        one = enter(
            router_before(
                plain,
                workers,
                f"--config={plain / 'router.toml'}",
                f"--client-keys-file={keys.file.path}",
                f"--otlp-traces-endpoint=http://127.0.0.1:{dead}",
                "--policy=cache_aware",
                "--max-concurrent-requests=4",
                "--queue-size=2",
                "--retry-max-retries=2",
                planes=2,
            )
        )
        two_of_each = enter(two_and_two(pairs))
        two = enter(pairs_router(pairs, two_of_each))
        told = enter(simulated_fleet(blocks, 2, "--kv-events"))
        three = enter(router_before(blocks, told, "--policy=kv_aware"))
        crowd = Crowd()
        for _ in range(6):
            crowd.add(one.url, stream, key)
        crowd.add(one.url, lambda client: stream(client, "chat"), key)
        crowd.add(one.url, lambda client: stream(client, "none"), key)
        crowd.add(one.url, leave, key)
        crowd.add(one.url, stream)
        crowd.add(two.url, stream)
        crowd.add(three.url, lambda client: stream(client, prompt=TOKENS))
        scraped = enter(prometheus(own, [router.prometheus_port for router in (one, two, three)]))
        enter(crowd)
        for worker, zone in zip(workers, ("a", "b", "b"), strict=True):
            admin = f"http://127.0.0.1:{one.admin_port}/workers/{quote(worker, safe='')}"
            httpx.patch(admin, json={"labels": {"zone": zone}}, trust_env=False).raise_for_status()
        silent = {asked.expression: asked.place for asked in board_expressions()}

        def all_answer() -> bool:
            for expression in list(silent):
                if scraped.values(filled_in(expression, "10s")):
                    del silent[expression]
            return not silent

        try:
            eventually(all_answer, "all queries to have an answer")
        except AssertionError as error:
            raise AssertionError(f"no answer: {sorted(silent.values())}") from error
        assert scraped.faults() == []
        eventually(lambda: "RouterctlTracesLost" in scraped.alerts(), "the alert of the collector that is away")
        for metric in ("request_duration", "time_to_first_token"):
            assert scraped.exemplars(f"routerctl_{metric}_seconds_bucket")
        assert "RouterctlControlPlaneDown" not in scraped.alerts()
