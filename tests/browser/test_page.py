"""The page in a real browser, before the demo's fleet: what a person sees and does there.

With PAGE_SCREENSHOTS=FOLDER the pictures of the documentation are written there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from shared.runtime_dir import ProcessRecord, RuntimeDir, read_record
from tests.integration.routers import PATIENCE, eventually, free_ports

if sys.platform != "linux":
    pytest.skip("the router runs on Linux", allow_module_level=True)

from tests.browser.chromium import Tab, browser, chromium_path

pytestmark = pytest.mark.skipif(chromium_path() is None, reason="there is no chromium: apt-get install chromium")

HERE = Path(__file__).parent
TOKEN = "a-token-nobody-guesses"
VIEWS = ("fleet", "requests", "planes", "config", "events")


class Demo:
    """`routerctl demo` with a token and a file."""

    def __init__(self, folder: Path) -> None:
        self.runtime = RuntimeDir(folder / "run")
        port, admin_port, prometheus_port = free_ports(3)
        token, file = folder / "token", folder / "router.toml"
        token.write_text(TOKEN)
        token.chmod(0o600)
        file.write_text("# of the demo\nrequest_timeout_secs = 1700\n")
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin_port}"
        self.client = httpx.Client(base_url=self.admin, headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False)
        ports = (f"--port={port}", f"--admin-port={admin_port}", f"--prometheus-port={prometheus_port}")
        more = (f"--admin-token-file={token}", f"--config={file}", f"--runtime-dir={self.runtime.path}")
        command = (sys.executable, "-P", "-m", "controlplane.cli", "demo", "--data-planes=1", *ports, *more)
        self._output = folder / "output"
        with open(self._output, "wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def ready(self) -> None:
        """Wait until it is there, and has shown its one request."""
        output = self._output
        eventually(lambda: "Ctrl-C" in output.read_text() or self._process.poll() is not None, "the demo")
        assert "Ctrl-C ends it." in output.read_text(), output.read_text()

    def get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def workers(self) -> dict[str, str]:
        return {worker["id"]: worker["state"] for worker in self.get("/workers")["workers"]}

    def complete(self, request: str, tokens: int = 4) -> None:
        body = {"model": "sim-model", "prompt": f"about {request}", "max_tokens": tokens, "stream": True}
        url = f"{self.url}/v1/completions"
        httpx.post(url, json=body, headers={"x-request-id": request}, trust_env=False, timeout=PATIENCE)

    def control_plane(self) -> int | None:
        record = read_record(self.runtime.control_plane, ProcessRecord)
        return record.pid if record is not None else None

    def close(self) -> None:
        self.client.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    one = Demo(tmp_path_factory.mktemp("demo"))
    try:
        one.ready()
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def signed_out(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Iterator[Tab]:
    """The page as it opens."""
    with browser(tmp_path_factory.mktemp("browser")) as tab:
        tab.look()
        tab.open(f"{demo.admin}/")
        yield tab


@pytest.fixture(scope="module")
def page(signed_out: Tab) -> Tab:
    """The page, signed in."""
    tab = signed_out
    tab.click("input[name=token]")
    tab.type("another-token")
    tab.press("Enter")
    tab.until("document.querySelector('.sign-in .problem')?.textContent.includes('does not take this token')")
    tab.type(TOKEN)
    tab.press("Enter")
    tab.until("document.querySelector('tr[data-worker]')")
    # The browser itself tells of each answer 401.
    assert all("401" in complaint for complaint in tab.complaints), tab.complaints
    tab.complaints.clear()
    return tab


def go(tab: Tab, where: str) -> None:
    tab.evaluate(f"location.hash = {json.dumps('#/' + where)}")
    tab.until(f"location.hash === {json.dumps('#/' + where)} && document.querySelector('main h1')")


def row(worker: str, rest: str = "") -> str:
    return f'tr[data-worker="{worker}"] {rest}'.strip()


def state_of(worker: str) -> str:
    return f"document.querySelector({json.dumps(row(worker, '.state'))})?.textContent"


def test_without_the_token_there_is_only_a_form(signed_out: Tab, demo: Demo) -> None:
    signed_out.until("document.querySelector('.sign-in')")
    assert httpx.get(f"{demo.admin}/live", trust_env=False).status_code == 401
    assert "127.0.0.1" not in signed_out.text()


def test_the_token_stays_in_the_tab(page: Tab) -> None:
    assert page.evaluate("Object.values(sessionStorage)") == [TOKEN]
    assert page.evaluate("Object.values(localStorage)") == []
    assert TOKEN not in page.evaluate("document.cookie + location.href + document.documentElement.outerHTML")


def test_what_is_shown_is_computed_well(page: Tab) -> None:
    assert page.evaluate((HERE / "pure.js").read_text()) == []


def test_of_500_workers_only_those_are_drawn_anew_that_changed(page: Tab) -> None:
    seen = page.evaluate((HERE / "many.js").read_text())
    assert (seen["rows"], seen["idle"]) == (500, [])
    # Squares have no row; they belong to the head of their pool, as the figures do not.
    rows = [name for name in seen["touched"] if name.startswith("http")]
    assert rows == [f"http://gpu-{number}:8000" for number in (3, 499, 77)]
    assert set(seen["touched"]) - set(rows) <= {"cells", "value", "figures"}, seen


def test_a_worker_is_drained_by_a_click_and_seen_to_drain(page: Tab, demo: Demo) -> None:
    go(page, "fleet")
    worker = next(iter(demo.workers()))
    page.until(f"{state_of(worker)} === 'ready'")
    page.click(row(worker, "button"))
    page.until(
        "document.querySelector('dialog[open]')?.innerText.includes('2 other workers of its models stay ready.')"
    )
    page.press("Escape")
    page.until("!document.querySelector('dialog')")
    assert demo.workers()[worker] == "ready"

    page.click(row(worker, "button"))
    page.click("dialog button[type=submit]")
    page.until(f"{state_of(worker)} === 'drained'")
    assert demo.workers()[worker] == "draining"
    page.until("document.querySelector('#said').textContent.endsWith(' drains.')")
    go(page, "events")
    page.until("document.querySelector('.events').innerText.includes('drained by an operator')")

    # And back, by the keyboard alone.
    go(page, "fleet")
    page.until(f"document.querySelector({json.dumps(row(worker, 'button'))})?.textContent === 'Undrain'")
    page.evaluate(f"document.querySelector({json.dumps(row(worker, 'button'))}).focus()")
    page.press("Enter")
    page.until("document.querySelector('dialog[open]')")
    page.press("Tab")
    page.press("Enter")
    page.until(f"{state_of(worker)} === 'ready'")
    assert demo.workers()[worker] == "ready"


def test_a_worker_is_added_looked_at_and_removed(page: Tab, demo: Demo) -> None:
    go(page, "fleet")
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    page.click(".toolbar button")
    page.until("document.querySelector('dialog input[name=url]')")
    page.click("dialog input[name=url]")
    page.type(nobody)
    page.press("Enter")
    page.until(f"{state_of(nobody)} === 'starting'")
    assert nobody in demo.workers()
    page.click(row(nobody, "th a"))
    page.until("document.querySelector('.facts')?.innerText.includes('an operator')")
    page.click("button[data-verb=remove]")
    page.click("dialog button.danger")
    page.until("document.querySelector('main').innerText.includes('There is no such worker now.')")
    assert nobody not in demo.workers()


def test_a_request_is_found_and_explained(page: Tab, demo: Demo) -> None:
    demo.complete("one/of mine")
    go(page, "requests")
    page.until("[...document.querySelectorAll('.requests a')].some((link) => link.textContent === 'one/of mine')")
    page.click(".heading input")
    page.type("one/of mine")
    page.press("Enter")
    page.until("document.querySelector('main').innerText.includes('answered 200')")
    told = page.text()
    assert "POST /v1/completions" in told
    assert "cache_aware" in told
    go(page, "request/nobodys")
    page.until("document.querySelector('main').innerText.includes('No plane knows of a request')")
    page.complaints.clear()


def test_the_configuration_is_checked_applied_and_taken_back(page: Tab, demo: Demo) -> None:
    def set_text(text: str) -> None:
        page.evaluate(f"document.querySelector('textarea').value = {json.dumps(text)}")

    go(page, "config")
    page.until("document.querySelector('textarea')?.value.includes('request_timeout_secs = 1700')")
    set_text("request_timeout_secs = 0\n")
    page.click("section .buttons button")
    page.until("document.querySelector('.result').innerText.includes('Refused; nothing was changed.')")
    set_text("# of the demo\nrequest_timeout_secs = 1600\n")
    page.click("section .buttons button")
    page.until("document.querySelector('.result').innerText.includes('request_timeout_secs 1700 → 1600')")
    assert page.evaluate("document.querySelector('.diff').innerText").split("\n")[1:3] == [
        "- request_timeout_secs = 1700",
        "+ request_timeout_secs = 1600",
    ]
    page.click("section .buttons .primary")
    page.click("dialog button[type=submit]")
    page.until("!document.querySelector('dialog')")
    page.until("document.querySelector('textarea').value.includes('request_timeout_secs = 1600')")
    assert demo.get("/config/history")["entries"][-1]["cause"] == "apply"
    page.click("[aria-label='Go back to configuration 1']")
    page.click("dialog button[type=submit]")
    page.until("document.querySelector('textarea').value.includes('request_timeout_secs = 1700')")
    # The browser itself tells of the refusal.
    assert all("409" in complaint for complaint in page.complaints), page.complaints
    page.complaints.clear()


def test_every_view_is_readable_in_both_themes_and_on_a_narrow_screen(page: Tab, demo: Demo) -> None:
    checks = (HERE / "checks.js").read_text()
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            page.look(width=width, scheme=scheme)
            for view in (*VIEWS, f"worker/{quote(next(iter(demo.workers())), safe='')}"):
                go(page, view)
                if view.startswith("worker"):
                    page.until("document.querySelectorAll('.chart').length === 5")
                assert page.evaluate(checks) == [], (view, scheme, width)
    page.look()


def test_everything_that_can_be_used_has_a_name(page: Tab) -> None:
    used = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "table", "img", "dialog"}
    for view in VIEWS:
        go(page, view)
        found = page.call("Accessibility.getFullAXTree")["nodes"]
        shown = [node for node in found if not node["ignored"] and node["role"]["value"] in used]
        assert len(shown) > 5
        assert [node["role"]["value"] for node in shown if not node.get("name", {}).get("value")] == [], view
        assert sum(node["role"]["value"] == "main" for node in found) == 1


def test_the_theme_can_be_chosen_and_stays(page: Tab) -> None:
    go(page, "fleet")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)

    def choose(theme: str) -> None:
        page.evaluate(f"document.querySelector('#theme').value = '{theme}'")
        page.evaluate("document.querySelector('#theme').dispatchEvent(new Event('change'))")

    choose("dark")
    dark = page.evaluate(paper)
    assert dark != light
    page.call("Page.reload")
    page.until("document.querySelector('tr[data-worker]')")
    assert page.evaluate(paper) == dark
    choose("auto")
    assert page.evaluate(paper) == light


def test_the_page_outlives_the_control_plane(page: Tab, demo: Demo) -> None:
    go(page, "fleet")
    page.until("document.querySelector('#line').dataset.line === 'live'")
    before = demo.control_plane()
    assert before is not None
    os.kill(before, signal.SIGKILL)
    page.until("document.querySelector('#line').dataset.line === 'lost'")
    eventually(lambda: demo.control_plane() not in (before, None), "the next control plane")
    page.until("document.querySelector('#line').dataset.line === 'live'")
    page.until("document.querySelectorAll('tr[data-worker]').length === 3")
    # The browser itself tells of each try in vain.
    assert all("Failed to load resource" in complaint for complaint in page.complaints), page.complaints


@pytest.mark.skipif(
    "PAGE_SCREENSHOTS" not in os.environ, reason="pictures are made when PAGE_SCREENSHOTS names a folder"
)
def test_pictures_for_the_documentation(page: Tab, demo: Demo) -> None:
    folder = Path(os.environ["PAGE_SCREENSHOTS"])
    page.look(width=1200, height=640)
    go(page, "fleet")
    stop = threading.Event()

    def ask(number: int) -> None:
        while not stop.is_set():
            demo.complete(f"picture-{number}", 40 + 20 * number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    try:
        # Rates are known, and times to the first byte of every worker.
        page.until("Number(document.querySelectorAll('.figures .value')[3].textContent) > 5")
        cells = "[...document.querySelectorAll('.fleet td:nth-of-type(6)')]"
        page.until(f"{cells}.every((one) => one.textContent.includes('ms'))")
        worker = next(iter(demo.workers()))
        page.click(row(worker, "button"))
        page.click("dialog button[type=submit]")
        page.until(f"{state_of(worker)} !== 'ready' && !document.querySelector('dialog')")
        page.screenshot(folder / "page.png")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
