"""A fleet under load, of which one worker is killed and one drained by a click: top, page, Prometheus and report agree.

With PAGE_SCREENSHOTS=FOLDER the picture of the report is written there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

if sys.platform != "linux":
    pytest.skip("the router runs on Linux", allow_module_level=True)

from controlplane.top.texts import short_time
from tests.browser.chromium import Tab, browser, chromium_path
from tests.docs.ready_made import PANELS, filled_in
from tests.integration.commands import routerctl
from tests.integration.prometheus import Prometheus, prometheus, prometheus_path
from tests.integration.routers import Router, eventually, router_before, simulated_fleet
from tests.integration.terminals import Terminal, terminal
from tests.integration.test_client_keys import Keys
from tests.integration.test_ready_made import Crowd, leave, stream

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(chromium_path() is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(prometheus_path() is None, reason="no prometheus: apt-get install prometheus"),
]


FIRST_TOKEN = "histogram_quantile({}, sum by (le) (routerctl_time_to_first_token_seconds_bucket))"


class Scene(NamedTuple):
    router: Router
    killed: str
    drained: str
    tab: Tab
    prometheus: Prometheus
    narrow: Terminal
    wide: Terminal

    def told(self, path: str) -> Any:
        return httpx.get(f"http://127.0.0.1:{self.router.admin_port}{path}", trust_env=False).raise_for_status().json()

    def report(self, *more: str) -> str:
        done = routerctl("report", f"--runtime-dir={self.router.runtime.path}", "--since=0", *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def value(self, expression: str) -> float:
        return sum(self.prometheus.values(expression))

    def screens(self) -> tuple[str, str]:
        return self.narrow.read(), self.wide.read()


def endure(client: httpx.Client) -> None:
    """Ask for a stream, of which the worker may be killed."""
    with suppress(httpx.RemoteProtocolError):
        stream(client)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """All of it, after the load has ended."""
    folder = tmp_path_factory.mktemp("scene")

    def within(name: str) -> Path:
        path = folder / name
        path.mkdir()
        return path

    keys = Keys(within("keys") / "keys.toml")
    alice, bob = ({"authorization": f"Bearer {keys.make(name)}"} for name in ("alice", "bob"))
    with ExitStack() as stack:
        enter = stack.enter_context
        doomed = ExitStack()
        stack.callback(doomed.close)
        (victim,) = doomed.enter_context(simulated_fleet(within("victim"), 1))
        broken = "--fault=0:status=500,probability=0.5"
        others = enter(simulated_fleet(within("others"), 3, broken, "--enable-prompt-tokens-details"))
        limits = ("--max-concurrent-requests=6", "--model-max-concurrent-requests=sim-model=20", "--queue-size=30")
        more = (f"--client-keys-file={keys.file.path}", *limits)
        router = enter(router_before(within("router"), [victim, *others], *more, planes=2))
        scraped = enter(prometheus(within("prometheus"), [router.prometheus_port]))
        top = (sys.executable, "-P", "-m", "controlplane.cli", "top", f"--runtime-dir={router.runtime.path}")
        narrow, wide = enter(terminal(*top)), enter(terminal(*top, columns=140, lines=40))
        tab = enter(browser(within("browser")))
        tab.look()
        tab.open(f"http://127.0.0.1:{router.admin_port}/")
        one = Scene(router, victim, others[2], tab, scraped, narrow, wide)
        crowd = Crowd()
        for number in range(16):
            crowd.add(router.url, endure, alice if number % 4 else bob)
        crowd.add(router.url, lambda client: stream(client, "none"), bob)
        crowd.add(router.url, leave, bob)
        with crowd:
            _have_it_happen(one, doomed)
            if "PAGE_SCREENSHOTS" in os.environ:
                # A picture of a report has some rows to show.
                time.sleep(75)
        eventually(lambda: one.told("/summary")["active"] == 0, "the last request's end")
        yield one


def _have_it_happen(scene: Scene, doomed: ExitStack) -> None:
    eventually(lambda: (scene.told("/summary")["traffic"] or {}).get("failures", 0) > 0, "failures")
    for screen in (scene.narrow, scene.wide):
        screen.until("requests wait; full: total 6/6")
    scene.tab.until("document.querySelector('.attention')?.innerText.includes('full: total (6 of 6')")
    eventually(lambda: scene.value("routerctl_limit_in_use") >= 6, "the limit in Prometheus")

    row = f'tr[data-worker="{scene.drained}"]'
    scene.tab.click(f"{row} button")
    scene.tab.click("dialog button[type=submit]")
    doomed.close()
    for worker, state in ((scene.killed, "unhealthy"), (scene.drained, "drained")):
        found = f"document.querySelector('tr[data-worker=\"{worker}\"] .state')?.textContent"
        scene.tab.until(f"{found} === '{state}'")
        for screen in (scene.narrow, scene.wide):
            screen.until(f"{worker.removeprefix('http://')} {state}")
    eventually(lambda: scene.value('routerctl_workers{state="unhealthy"}') == 1, "the dead worker in Prometheus")
    eventually(lambda: scene.value('routerctl_workers{state="draining"}') == 1, "the drained worker in Prometheus")
    eventually(lambda: scene.value("routerctl_worker_breaker_transitions_total") > 0, "a breaker that opens")
    goal = scene.told("/report?seconds=0")["traffic"]["requests"] + 200
    eventually(lambda: scene.told("/report?seconds=0")["traffic"]["requests"] > goal, "more traffic")


def test_counts_of_report_and_prometheus_are_the_same(scene: Scene) -> None:
    failed = scene_failures()
    pairs: list[tuple[Callable[[Any], float | None], str]] = [
        (lambda told: told["traffic"]["requests"], "routerctl_requests_total"),
        (lambda told: told["traffic"]["failed"], failed),
        (lambda told: told["traffic"]["left"], 'routerctl_requests_total{cause="client_left"}'),
        (lambda told: told["traffic"]["prompt_tokens"], "routerctl_prompt_tokens_total"),
        (lambda told: told["traffic"]["output_tokens"], "routerctl_output_tokens_total"),
        (lambda told: sum(told["traffic"]["retries"].values()), "routerctl_retries_total"),
        (lambda told: told["latency"]["first_token"]["count"], "routerctl_time_to_first_token_seconds_count"),
        (lambda told: told["latency"]["queue_wait"]["count"], "routerctl_queue_wait_seconds_count"),
        (
            lambda told: sum(worker["breaker_opened"] for worker in told["workers"]),
            'routerctl_worker_breaker_transitions_total{to="open"}',
        ),
        (lambda told: told["latency"]["first_token"]["p50"], FIRST_TOKEN.format(0.5)),
        (lambda told: told["latency"]["first_token"]["p95"], FIRST_TOKEN.format(0.95)),
        (lambda told: told["latency"]["first_token"]["p99"], FIRST_TOKEN.format(0.99)),
    ]
    different: dict[str, tuple[float | None, float]] = {}

    def agree() -> bool:
        told = json.loads(scene.report("--json"))
        seen = {expression: (of(told), scene.value(expression)) for of, expression in pairs}
        different.clear()
        different.update({name: two for name, two in seen.items() if two[0] != pytest.approx(two[1], abs=1e-5)})
        return not different

    try:
        eventually(agree, "the same counts")
    except AssertionError:
        raise AssertionError(different) from None


def scene_failures() -> str:
    """What the dashboard counts as failed, since the start."""
    (panel,) = [panel for panel in PANELS if panel["title"] == "Failed"]
    expression = filled_in(panel["targets"][0]["expr"]).rpartition(") / ")[0] + ")"
    return expression.replace("rate(", "(").replace("[5m]", "")


def test_top_and_the_page_show_the_same_times(scene: Scene) -> None:
    """Of the last minute, so they move on: there is a moment in which all agree."""

    def agree() -> bool:
        traffic = scene.told("/summary")["traffic"]
        first, whole = traffic["first_token"], traffic["duration"]
        if first is None:
            return False
        told = f"ttft {short_time(first['p50'])}/{short_time(first['p95'])}"
        told += f"  e2e {short_time(whole['p50'])}/{short_time(whole['p95'])}"
        figures = scene.tab.evaluate("document.querySelector('.figures').innerText")
        shown = f"{first['p50'] * 1000:.0f} ms \N{EN DASH} {first['p95'] * 1000:.0f} ms"
        return shown in figures and all(
            told in screen.replace("\n", "  ").replace("    ", "  ") for screen in scene.screens()
        )

    eventually(agree, "the same times")


def test_every_panel_has_something_to_show_or_says_why_not(scene: Scene) -> None:
    for panel in PANELS:
        values = [filled_in(target["expr"], "2m") for target in panel["targets"]]
        if not any(scene.prometheus.values(expression) for expression in values):
            assert panel["fieldConfig"]["defaults"].get("noValue"), panel["title"]


def test_the_report_tells_what_happened(scene: Scene) -> None:
    told = scene.report()
    assert f"worker {scene.killed} is unhealthy (was ready)" in told
    assert f"worker {scene.drained} is draining (was ready): drained by an operator" in told
    assert "the worker's own answer" in told
    assert "total    " in told[told.index("LIMITS") :]
    file = scene.router.folder / "report.html"
    scene.report(f"--html={file}")
    scene.tab.look(width=1100, height=980)
    scene.tab.open(file.as_uri())
    assert scene.tab.evaluate("document.querySelectorAll('svg path').length") == 10
    assert scene.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if "PAGE_SCREENSHOTS" in os.environ:
        scene.tab.screenshot(Path(os.environ["PAGE_SCREENSHOTS"]) / "report.png")
