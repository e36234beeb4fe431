import asyncio
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.admin import admin_application, prometheus_application
from controlplane.admin_token import TokenFile
from controlplane.cache_flush import Flushed
from controlplane.configuration import Configuration
from controlplane.events.event import about
from controlplane.events.recorder import recorded_events
from controlplane.figures.traffic import Figures
from controlplane.page.live import Live
from controlplane.planes import Planes
from controlplane.reports.rows import Row
from controlplane.status_builder import build_report
from controlplane.status_report import StatusReport
from controlplane.supervisor_socket import NoSupervisorError, PlaneRestart, PlanesRestarted
from shared.adapters import AdapterOrder, AdapterProblem, AdapterReport, AdapterVerb
from shared.clock import SystemClock
from shared.receipt import Receipt
from shared.request_lines import RequestLine, RequestLines
from shared.runtime_dir import ProcessRecord
from shared.table import make_table
from tests.unit.controlplane.members import A, Setting
from tests.unit.controlplane.reloads import Router, agreeing

log = logging.getLogger("tests.admin")

TOKEN = "a-token-nobody-guesses"
OWN = ProcessRecord(pid=1, start_ticks=1, version="x", started=0.0)


class OneGauge(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("routerctl_x", "An x.", value=1.0)


async def flush_caches() -> Flushed:
    return Flushed(flushed=(A,), failed={"http://b:1": "status 500"})


async def order_adapters(verb: AdapterVerb, order: AdapterOrder) -> AdapterReport | AdapterProblem:
    if order.body == "nobody":
        return AdapterProblem(code="adapter_for_nobody", message="No worker is known.")
    return AdapterReport(done=(f"{verb} {order.body} {order.model}",), failed={"b": "no"} if order.model else {})


def ask(application: object, method: str, path: str, **given: object) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=application)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
            return await client.request(method, path, **given)  # type: ignore[arg-type]

    return asyncio.run(run())


class Admin:
    def __init__(self, folder: Path, token: TokenFile | None = None) -> None:
        self.setting = Setting(A)
        self.router = Router(folder, agreeing)
        self.configuration = Configuration(self.router.runtime, self.router, SystemClock())
        self.known: tuple[Receipt, ...] = ()
        self.lines = RequestLines()
        self.asked: list[tuple[int, bool]] = []
        self.wishes: list[tuple[int, ...]] = []
        self.figures = Figures()
        self.newest: Row | None = None
        self.live = Live(self._status, lambda: self.figures, self.router.runtime, SystemClock())
        self.restarted: PlanesRestarted | None = PlanesRestarted(outcome="restarted")
        self.application = admin_application(
            self._status,
            self.setting.membership,
            self.configuration,
            self,
            self._restart_planes,
            flush_caches,
            order_adapters,
            self.router.runtime,
            lambda: self.figures,
            self.live,
            lambda: self.newest,
            token,
        )

    async def request_lines(self, most: int, patience: float, *, troubled: bool) -> RequestLines:
        self.asked.append((most, troubled))
        return self.lines

    async def receipts(self, request: str, patience: float) -> tuple[Receipt, ...]:
        return tuple(receipt for receipt in self.known if receipt.request == request)

    async def _restart_planes(self, slots: tuple[int, ...]) -> PlanesRestarted:
        self.wishes.append(slots)
        if self.restarted is None:
            raise NoSupervisorError("nobody")
        return self.restarted

    def _status(self) -> StatusReport:
        return build_report(
            supervisor=None,
            supervisor_runs=False,
            own=OWN,
            table=make_table(epoch=1, version=2),
            members=self.setting.registry.members(),
            planes=Planes(),
            loads={},
            drained=self.setting.membership.drained(),
            removed=self.setting.membership.removed(),
            data_planes=2,
            malformed=0,
            figures=self.figures,
            now=1.0,
            wall=1.0,
        )

    def __call__(self, method: str, path: str, **given: object) -> httpx.Response:
        return ask(self.application, method, path, **given)


def path_of(url: str, verb: str = "") -> str:
    return f"/workers/{quote(url, safe='')}{verb}"


def test_status(tmp_path: Path) -> None:
    answer = Admin(tmp_path)("GET", "/status")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["control_plane"]["table"]["version"] == 2
    assert [worker["id"] for worker in answer.json()["workers"]] == [A]


def test_a_worker_is_added_shown_drained_undrained_and_removed(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    added = admin("POST", "/workers", json={"url": "http://b:1/"})
    assert added.status_code == 201
    assert added.json() == {
        "id": "http://b:1",
        "url": "http://b:1",
        "ranks": [],
        "state": "starting",
        "reason": "",
        "labels": {},
        "weight": 1.0,
        "capacity": None,
        "max_concurrent_requests": None,
        "priority": 50,
        "on_every_plane": True,
        "kept": True,
    }
    assert [worker["id"] for worker in admin("GET", "/workers").json()["workers"]] == [A, "http://b:1"]
    assert admin("GET", path_of("http://b:1")).json()["source"] == "admin"
    drained = admin("POST", path_of("http://b:1", "/drain")).json()
    assert (drained["state"], drained["reason"]) == ("draining", "drained by an operator")
    assert admin("POST", path_of("http://b:1", "/undrain")).json()["state"] == "starting"
    assert admin("DELETE", path_of("http://b:1")).json()["reason"] == "being removed"
    assert admin("DELETE", path_of("http://b:1") + "?force").json()["state"] == "gone"
    assert admin("GET", path_of("http://b:1")).status_code == 404
    assert admin("GET", "/workers").json()["removed"] == []
    admin("DELETE", path_of(A) + "?force")
    assert admin("GET", "/workers").json()["removed"] == admin("GET", "/status").json()["removed"] == [A]
    admin("POST", "/workers", json={"url": A})
    assert admin("GET", "/workers").json()["removed"] == []


def test_how_a_worker_moves_kv_cache_is_given_and_shown(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    transfer = {"bootstrap_port": 9000, "tp_size": 2}
    added = admin("POST", "/workers", json={"url": "http://b:1", "role": "prefill", "transfer": transfer})
    assert added.status_code == 201
    shown = admin("GET", path_of("http://b:1")).json()
    assert shown["transfer"] == transfer
    assert "transfer" in shown["changed"]


def test_what_a_worker_is_like_is_given_changed_shown_and_looked_for(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    given = {"url": "http://b:1", "weight": 2, "capacity": 8, "priority": 60, "labels": {"zone": "a", "gpu": "h100"}}
    assert admin("POST", "/workers", json=given).status_code == 201
    changed = admin("PATCH", path_of("http://b:1"), json={"weight": 0.5, "labels": {"gpu": None}, "capacity": None})
    assert changed.status_code == 200
    shown = admin("GET", path_of("http://b:1")).json()
    for told in (changed.json(), shown):
        assert (told["weight"], told["capacity"], told["priority"], told["labels"]) == (0.5, None, 60, {"zone": "a"})
    assert shown["changed"] == ["labels", "weight", "priority"]
    found = [[worker["id"] for worker in admin("GET", f"/workers{query}").json()["workers"]]
             for query in ("?label=zone=a", "?label=zone=b", "?label=zone=a&label=gpu=h100", "")]  # fmt: skip
    assert found == [["http://b:1"], [], [], [A, "http://b:1"]]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", b"", 404, "not_found"),
        ("DELETE", "/status", b"", 405, "method_not_allowed"),
        ("GET", path_of("http://nobody:1"), b"", 404, "worker_not_found"),
        ("DELETE", path_of("http://nobody:1"), b"", 404, "worker_not_found"),
        ("POST", path_of("http://nobody:1", "/drain"), b"", 404, "worker_not_found"),
        ("POST", "/workers", b"{", 400, "bad_body"),
        ("POST", "/workers", b'{"url":"http://b:1","wait":1}', 400, "bad_body"),
        ("POST", "/workers", b'{"url":"http://b:1","weight":"1"}', 400, "bad_body"),
        ("POST", "/workers", b'{"url":"http://b:1","weight":-1}', 400, "bad_attribute"),
        ("POST", "/workers", b'{"url":"http://b:1","transfer":{"port":1}}', 400, "bad_body"),
        ("POST", "/workers", b'{"url":"http://b:1","transfer":{"bootstrap_port":0}}', 400, "bad_attribute"),
        ("POST", "/workers", b'{"url":"http://b:1","role":"encode"}', 400, "bad_body"),
        ("PATCH", path_of(A), b'{"weight":1001}', 400, "bad_attribute"),
        ("PATCH", path_of(A), b'{"labels":{"-":"x"}}', 400, "bad_attribute"),
        ("PATCH", path_of(A), b'{"role":"decode"}', 400, "bad_body"),
        ("PATCH", path_of("http://nobody:1"), b"{}", 404, "worker_not_found"),
        ("GET", "/workers?label=zone", b"", 400, "bad_label"),
        ("POST", "/workers", b'{"url":"ftp://b"}', 400, "bad_worker_url"),
        ("POST", "/workers", b'{"url":"' + A.encode() + b'"}', 409, "worker_exists"),
        ("POST", "/workers", b"x" * 70_000, 413, "payload_too_large"),
        ("GET", "/config/history/0", b"", 404, "config_not_found"),
        ("GET", "/config/history/x", b"", 404, "not_found"),
        ("POST", "/config/apply", b"", 400, "bad_body"),
        ("POST", "/config/apply", b'{"text":1}', 400, "bad_body"),
        ("POST", "/config/apply", b'{"text":"\\ud800"}', 400, "bad_body"),
        ("POST", "/config/apply", b'{"text":"","name":"a\\nb"}', 400, "bad_body"),
        ("POST", "/config/apply", b'{"text":"","force":true}', 400, "bad_body"),
        ("POST", "/config/apply", b'{"text":"' + b"x" * 4_200_000 + b'"}', 413, "payload_too_large"),
        ("POST", "/config/apply", b"x" * 8_400_000, 413, "payload_too_large"),
        ("POST", "/config/rollback", b'{"number":"1"}', 400, "bad_body"),
        ("GET", "/workers?lable=a=b", b"", 400, "bad_query"),
        ("DELETE", "/workers/http%3A%2F%2Fa%3A1?forced", b"", 400, "bad_query"),
    ],
)
def test_refusals_are_in_openais_shape(
    method: str, path: str, body: bytes, status: int, code: str, tmp_path: Path
) -> None:
    answer = Admin(tmp_path)(method, path, content=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["type"], error["param"]) == (code, "invalid_request_error", None)
    assert error["message"]


def test_with_a_token_nobody_gets_in_without_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    admin = Admin(tmp_path, TokenFile(str(file)))
    for path in ("/status", "/workers", "/openapi.json", "/config", "/config/history", "/nothing"):
        assert admin("GET", path).status_code == 401
        for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \u00e9".encode("latin-1")):
            answer = admin("GET", path, headers=[("authorization", wrong)])
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "bad_token"
            assert TOKEN not in answer.text
            assert answer.json()["error"]["message"].startswith(
                "The `Authorization` that was sent" if wrong else "Send the admin token"
            )
    assert admin("GET", "/workers", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    file.write_text("another-token-by-now")
    assert admin("GET", "/workers", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 401
    file.unlink()
    assert admin("GET", "/workers", headers={"authorization": "Bearer another-token-by-now"}).status_code == 401


def test_the_page_comes_without_the_token_and_brings_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    admin = Admin(tmp_path, TokenFile(str(file)))
    for path in ("/", "/page/main.js", "/page/page.css"):
        assert admin("GET", path).status_code == 200
    assert admin("GET", "/page/nothing").status_code == 404
    for path in ("/live", "/requests", path_of(A, "/history"), "/page"):
        assert admin("GET", path).status_code == 401
    for host in ("admin/page/", "admin/page/x?", "admin/page/#"):
        assert admin("GET", "/status", headers={"host": host}).status_code == 401
    own = {"authorization": f"Bearer {TOKEN}", "origin": "http://admin"}
    assert admin("POST", path_of(A, "/drain"), headers=own).status_code == 200
    assert admin("POST", path_of(A, "/drain"), headers=own | {"origin": "http://elsewhere"}).status_code == 403


def test_without_a_token_only_a_page_at_an_address_may_change_anything(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    at_an_address = {"host": "127.0.0.1:30080", "origin": "http://127.0.0.1:30080"}
    assert admin("POST", path_of(A, "/drain"), headers=at_an_address).status_code == 200
    # A name may be another's, who has it lead to us.
    refused = admin("POST", path_of(A, "/drain"), headers={"host": "evil.example", "origin": "http://evil.example"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "from_a_web_page")


def test_a_workers_history_is_that_of_one_that_is_there(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    asyncio.run(admin.live.look())
    assert admin("GET", path_of(A, "/history")).json()["figures"]["inflight"] == [0.0]
    answer = admin("GET", path_of("http://nobody:1", "/history"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "worker_not_found")


def test_a_reload_that_is_refused_says_why(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    admin.router.file.write_text("request_timeout_secs = 0")
    answer = admin("POST", "/reload")
    assert (answer.status_code, answer.json()["outcome"]) == (409, "refused")
    assert "r.toml:1: request_timeout_secs is 0" in answer.json()["problems"][0]


def test_the_configuration_is_applied_shown_listed_and_taken_back(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    text = "# slow\nrequest_timeout_secs = 5\n"
    dry = admin("POST", "/config/apply", json={"text": text, "name": "new.toml", "dry_run": True})
    assert (dry.status_code, dry.json()["outcome"], dry.json()["number"]) == (200, "possible", 1)
    applied = admin("POST", "/config/apply", json={"text": text, "name": "new.toml"})
    assert (applied.status_code, applied.json()["outcome"], applied.json()["number"]) == (200, "applied", 2)
    assert admin.router.file.read_text() == text

    shown = admin("GET", "/config").json()
    assert (shown["status"]["number"], shown["status"]["state"]) == (2, "in use")
    values = {value["key"]: value for value in shown["values"]}
    assert values["request_timeout_secs"] == {
        "key": "request_timeout_secs",
        "value": 5.0,
        "source": "file",
        "name": str(admin.router.file),
        "line": 2,
    }
    assert values["data_planes"]["name"] == "--data-planes"

    entries = admin("GET", "/config/history").json()["entries"]
    assert [(entry["number"], entry["cause"], entry["keys"], entry["in_use"]) for entry in entries] == [
        (1, "start", [], False),
        (2, "apply", ["request_timeout_secs"], True),
    ]
    assert admin("GET", "/config/history/2").json()["text"] == text
    assert admin("GET", "/config/history/3").json()["error"]["code"] == "config_not_found"

    back = admin("POST", "/config/rollback")
    assert (back.status_code, back.json()["outcome"], back.json()["number"]) == (200, "applied", 3)
    assert admin("POST", "/config/rollback", json={"number": 9}).status_code == 409
    refused = admin("POST", "/config/apply", json={"text": "prot = 1", "name": "new.toml"})
    assert (refused.status_code, refused.json()["problems"][0][:10]) == (409, "new.toml:1")
    assert admin.router.file.read_text() == ""


def test_caches_that_were_not_flushed_are_told(tmp_path: Path) -> None:
    answer = Admin(tmp_path)("POST", "/flush_cache")
    assert (answer.status_code, answer.json()) == (502, {"flushed": [A], "failed": {"http://b:1": "status 500"}})


def test_a_web_page_changes_nothing(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    answer = admin("POST", "/workers", json={"url": "http://b:1"}, headers={"origin": "http://evil"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "from_a_web_page")
    assert len(admin("GET", "/workers").json()["workers"]) == 1


def test_the_newest_receipt_of_a_request(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    admin.known = tuple(
        Receipt(
            request="a/b",
            plane=str(plane),
            method="GET",
            path="/",
            arrived=arrived,
            ended=1.0,
            outcome="answered",
            status=200,
            policy="random",
            epoch=1,
            version=1,
        )
        for plane, arrived in ((0, 5.0), (1, 7.0), (2, 6.0))
    )
    answer = admin("GET", "/explain/a%2Fb")
    assert (answer.status_code, answer.json()["plane"]) == (200, "1")
    answer = admin("GET", "/explain/none")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "request_not_found")
    # One that was turned away at the door has an id, too, and leaves no receipt.
    assert "no valid API key" in answer.json()["error"]["message"]


def test_the_document_names_every_path_and_method(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    document = admin("GET", "/openapi.json").json()
    told = {
        (path, method)
        for path, methods in document["paths"].items()
        for method in methods
        if method in ("get", "post", "patch", "delete")
    }
    routes = {
        (re.sub(":[a-z]+}", "}", route.path), method.lower())  # type: ignore[attr-defined]
        for route in admin.application.routes
        for method in route.methods or ()  # type: ignore[attr-defined]
        if method != "HEAD"
    }
    # The page is for browsers.
    assert told == routes - {("/", "get"), ("/page/{name}", "get")}
    assert "WorkerStatus" in document["components"]["schemas"]


@pytest.mark.parametrize(
    ("accept", "kind", "is_open"),
    [("*/*", "text/plain", False), ("application/openmetrics-text; version=1.0.0", "application/openmetrics", True)],
)
def test_metrics_in_the_format_asked_for(accept: str, kind: str, is_open: bool) -> None:
    answer = ask(prometheus_application(OneGauge()), "GET", "/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(kind)
    assert "routerctl_x 1.0" in answer.text
    assert answer.text.endswith("# EOF\n") == is_open


def test_metrics_ask_for_their_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    application = prometheus_application(OneGauge(), TokenFile(str(file), "--prometheus-token-file"))
    for given in ({}, {"authorization": "Bearer another-token-nobody"}, {"authorization": TOKEN}):
        answer = ask(application, "GET", "/metrics", headers=given)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "routerctl_x" not in answer.text
    assert ask(application, "GET", "/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    file.unlink()
    assert ask(application, "GET", "/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 401
    assert "--prometheus-token-file" in caplog.text


def test_metrics_are_not_on_the_admin_port(tmp_path: Path) -> None:
    assert Admin(tmp_path)("GET", "/metrics").status_code == 404


def test_planes_are_listed_and_restarted(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    assert admin("GET", "/planes").json() == {"planes": [], "data_planes": 2}
    answer = admin("POST", "/planes/restart")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "restarted")
    assert admin("POST", "/planes/restart", json={"slots": [1]}).status_code == 200
    assert admin.wishes == [(), (1,)]


def test_a_restart_that_is_refused_or_stops_says_why(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    admin.restarted = PlanesRestarted(outcome="refused", reason="there is no plane 7")
    answer = admin("POST", "/planes/restart", json={"slots": [7]})
    assert (answer.status_code, answer.json()["reason"]) == (409, "there is no plane 7")
    failed = PlaneRestart(slot=0, outcome="failed", old_pid=1, reason="exited")
    admin.restarted = PlanesRestarted(outcome="stopped", reason="x", planes=(failed,))
    answer = admin("POST", "/planes/restart")
    assert (answer.status_code, answer.json()["planes"][0]["old_pid"]) == (500, 1)
    admin.restarted = None
    answer = admin("POST", "/planes/restart")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_supervisor")


@pytest.mark.parametrize("body", [b"{", b'{"slots": ["a"]}', b'{"slot": [1]}', b"[]"])
def test_a_wish_that_is_none_restarts_nothing(body: bytes, tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    answer = admin("POST", "/planes/restart", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_body")
    assert admin.wishes == []


def test_events_are_told_from_a_time_on_and_so_many_at_most(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    with recorded_events(admin.router.runtime, "control plane"):
        for text in "abc":
            log.warning(text, extra=about("worker", A))
    found = admin("GET", "/events").json()["events"]
    assert [event["text"] for event in found] == ["a", "b", "c"]
    newest = admin("GET", f"/events?after={found[0]['time']}&limit=1").json()["events"]
    assert [event["text"] for event in newest] == ["c"]


@pytest.mark.parametrize("query", ["after=yesterday", "limit=some", "limit=0", "limit=1001", "since=1", "limti=3"])
def test_a_bad_question_for_events_is_refused(tmp_path: Path, query: str) -> None:
    answer = Admin(tmp_path)("GET", f"/events?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_query")


def test_requests_are_asked_for_within_bounds(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    line = RequestLine(request="r", plane="0", method="POST", path="/v1", arrived=1.0, workers=(A,), phase="waiting")
    admin.lines = RequestLines(active=1, open=(line,))
    answer = admin("GET", "/requests?limit=5&troubled=yes")
    assert answer.json()["open"] == [
        {
            "request": "r",
            "plane": "0",
            "method": "POST",
            "path": "/v1",
            "arrived": 1.0,
            "workers": [A],
            "phase": "waiting",
        }
    ]
    assert admin("GET", "/requests").status_code == 200
    assert admin.asked == [(5, True), (200, False)]
    for wrong in ("0", "201", "-1", "many", ""):
        refused = admin("GET", f"/requests?limit={wrong}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_query")


def test_a_report_has_what_was_counted_since_the_last_row(tmp_path: Path) -> None:
    """Or it would tell less than every other view for up to 15 s, and nothing at all of a router's first ones."""
    admin = Admin(tmp_path)
    assert admin("GET", "/report?seconds=60").json()["traffic"]["requests"] == 0
    now = time.time()
    admin.newest = Row(time=now, seconds=4.0, requests=[("/v1/completions", "m", "200", "", 7.0)])
    told = admin("GET", "/report?seconds=60").json()
    assert (told["traffic"]["requests"], told["known_seconds"], told["until"]) == (7, 4.0, round(now, 3))
