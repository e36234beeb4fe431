"""vllm-router's endpoints about the fleet: their shapes, their account, and what becomes of a change."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dataplane import fleet_commands
from dataplane.accounting import Accounting
from dataplane.app import PlaneApplication
from dataplane.client import Client
from dataplane.fleet import Fleet
from dataplane.fleet_commands import FleetCommands
from dataplane.forward import Forwarder
from shared.messages import FleetAnswer, FleetVerb, LoadReport, WorkerLoad
from shared.table import Settings, Stamp, Worker, make_table
from shared.transfer_attributes import TransferAttributes
from shared.worker_attributes import WorkerAttributes
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.listening import until

A, B = "http://a:1", "http://b:1"
STAMP = Stamp(1, 1, 0)
WORKERS = [Worker(id=A, url=A, state="ready", models=("m", "n")), Worker(id=B, url=B, state="unhealthy", priority=7)]


class Port:
    def __init__(self, *, admin_on_main: bool = True, reaches: bool = True) -> None:
        self.accounting = Accounting()
        self.fleet = Fleet(self.accounting, plane_slot=0, rng=random.Random(1))
        self.fleet.adopt(
            make_table(epoch=1, version=1, workers=WORKERS, settings=Settings(admin_on_main=admin_on_main))
        )
        self.sent: list[tuple[int, FleetVerb, str]] = []
        self.said: list[WorkerAttributes] = []
        self._reaches = reaches
        self.commands = FleetCommands(self._send)
        self.application = PlaneApplication(
            Forwarder(self.fleet, self.accounting, lambda *_: None, random.Random(1)), self.commands
        )

    def _send(self, number: int, verb: FleetVerb, url: str, said: WorkerAttributes) -> bool:
        self.sent.append((number, verb, url))
        self.said.append(said)
        return self._reaches

    def begin(self, method: str, path: str, query: bytes = b"", body: bytes = b"") -> FakeTransaction:
        transaction = FakeTransaction(method=method, path=path, query=query, headers=[(b"x-request-id", b"mine")])
        self.application.handle(Client(transaction))
        if method in ("POST", "DELETE") and not transaction.done_calls:
            transaction.give(body)
        return transaction

    async def ask(
        self, method: str, path: str, query: bytes = b"", body: bytes = b"", code: str | None = None
    ) -> FakeTransaction:
        transaction = self.begin(method, path, query, body)
        if code is not None:
            await until(lambda: bool(self.sent))
            self.commands.take(FleetAnswer(self.sent[-1][0], STAMP, code, "because"))
        await until(lambda: transaction.done_calls == 1)
        assert transaction.whole
        assert transaction.header(b"x-request-id") == b"mine"
        assert not transaction.late
        assert (self.accounting.accepted, self.accounting.active) == (1, 0)
        return transaction


def play(scene: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scene())


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/list_workers", 200, {"urls": [A, B]}),
        ("/get_loads", 200, {"workers": [{"worker": A, "load": 5}, {"worker": B, "load": -1}]}),
        (f"/workers/{A}", 200, {"url": A, "model_id": "m", "is_healthy": True}),
        (f"/workers/{B}", 200, {"url": B, "model_id": "unknown", "is_healthy": False}),
        (
            "/server-models",
            200,
            {
                "servers": {
                    A: {"supported_models": ["m", "n"], "healthy": True},
                    B: {"supported_models": [], "healthy": False},
                },
                "total_servers": 2,
                "healthy_servers": 1,
            },
        ),
        ("/scheduling/diagnostics", 404, {"enabled": False, "error": "This router does not schedule programs"}),
        ("/workers/http://c:1", 404, {"error": "Worker http://c:1 not found", "code": "WORKER_NOT_FOUND"}),
    ],
)
def test_what_is_told(path: str, status: int, expected: dict[str, Any]) -> None:
    async def scene() -> None:
        port = Port()
        port.fleet.take_load(LoadReport(STAMP, 1, {A: WorkerLoad(3, 2, 0.5, 0.1), B: WorkerLoad(9, 9, 0.5, 60.0)}))
        answer = await port.ask("GET", path)
        assert (answer.status, json.loads(answer.body)) == (status, expected)

    play(scene)


def test_loads_are_told_with_mvllms_shape() -> None:
    async def scene() -> None:
        port = Port()
        port.fleet.take_load(LoadReport(STAMP, 1, {A: WorkerLoad(3, 2, 0.5, 0.1), B: WorkerLoad(9, 9, 0.5, 60.0)}))
        told = json.loads((await port.ask("GET", "/load-stats")).body)
        assert [(server["url"], server["current_load"]) for server in told["servers"]] == [(A, 5), (B, 0)]
        assert told["summary"]["total_active_load"] == 5

    play(scene)


def test_the_list_of_workers_has_vllm_routers_fields() -> None:
    async def scene() -> None:
        told = json.loads((await Port().ask("GET", "/workers")).body)
        assert told["total"] == 2
        assert told["stats"] == {"prefill_count": 0, "decode_count": 0, "regular_count": 2}
        assert told["workers"][0] == {
            "url": A,
            "model_id": "m",
            "worker_type": "regular",
            "is_healthy": True,
            "load": 0,
            "connection_mode": "Http",
            "priority": 50,
            "cost": 1.0,
        }
        assert told["workers"][1]["priority"] == 7

    play(scene)


def test_a_finished_session_is_told_to_the_policy() -> None:
    async def scene() -> None:
        port = Port()
        finished: list[str] = []
        port.fleet.policy.policy.finish_session = finished.append  # type: ignore[assignment, method-assign]
        answer = await port.ask("POST", "/finish_session", b"session_id=a%20b")
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok", "session_id": "a b"})
        assert finished == ["a b"]
        assert not port.sent

    play(scene)


def test_a_session_must_be_named() -> None:
    async def scene() -> None:
        answer = await Port().ask("POST", "/finish_session", b"session=a")
        assert answer.status == 400
        assert b"session_id" in answer.body

    play(scene)


TWICE = f"Worker {A} already exists"
GONE = f"Successfully removed worker: {A}"
ADDED = {"success": True, "message": f"Successfully added worker: {A}"}
REMOVED = {"success": True, "message": f"Worker {A} removed successfully"}
FLUSHED = "Cache flushed on all servers"
UNFLUSHED = "Cache flush failed on one or more servers"


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "verb", "code", "status", "expected"),
    [
        ("POST", "/add_worker", b"url=http://a:1", b"", "add", "", 200, f"Successfully added worker: {A}"),
        ("POST", "/add_worker", b"url=http%3A%2F%2Fa%3A1", b"", "add", "worker_exists", 400, TWICE),
        ("POST", "/add_worker", b"url=http://a:1", b"", "add", "bad_worker_url", 400, "because"),
        ("POST", "/remove_worker", b"url=http://a:1", b"", "remove", "", 200, GONE),
        ("POST", "/remove_worker", b"url=http://a:1", b"", "remove", "worker_not_found", 200, GONE),
        ("POST", "/workers", b"", b'{"url":"http://a:1","priority":3}', "add", "", 200, ADDED),
        (
            "POST", "/workers", b"", b'{"url":"http://a:1"}', "add", "worker_exists", 400,
            {"error": TWICE, "code": "ADD_WORKER_FAILED"},
        ),
        ("DELETE", f"/workers/{A}", b"", b"", "remove", "", 200, REMOVED),
        ("DELETE", f"/workers/{A}", b"", b"", "remove", "worker_not_found", 200, REMOVED),
        ("POST", "/flush_cache", b"", b"", "flush-cache", "", 200, FLUSHED),
        ("POST", "/flush_cache", b"", b"", "flush-cache", "cache_flush_failed", 500, UNFLUSHED),
    ],
)  # fmt: skip
def test_what_is_changed(
    method: str, path: str, query: bytes, body: bytes, verb: str, code: str, status: int, expected: object
) -> None:
    async def scene() -> None:
        port = Port()
        answer = await port.ask(method, path, query, body, code)
        assert port.sent == [(1, verb, "" if verb == "flush-cache" else A)]
        text = answer.body.decode()
        assert (answer.status, json.loads(text) if isinstance(expected, dict) else text) == (status, expected)

    play(scene)


@pytest.mark.parametrize(
    ("path", "body"), [("/add_worker", b""), ("/v1/load_lora_adapter", b'{"lora_name": "x", "lora_path": "/x"}')]
)
def test_a_query_of_many_fields_is_read_to_its_end(path: str, body: bytes) -> None:
    async def scene() -> None:
        port = Port()
        query = b"x=1&" * 100 + b"url=http://nobody:1&model=m&url=http://c:1&model=n"
        port.begin("POST", path, query, body)
        await until(lambda: bool(port.sent))
        ((_, _, told),) = port.sent
        assert told == "http://c:1" if path == "/add_worker" else json.loads(told)["model"] == "n"

    play(scene)


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "status"),
    [
        ("POST", "/add_worker", b"", b"", 400),
        ("POST", "/workers", b"", b"{", 400),
        ("POST", "/workers", b"", b"{}", 422),
        ("POST", "/workers", b"", b'{"url":"http://a:1","priority":"x"}', 422),
        ("POST", "/workers", b"", b'{"url":"http://a:1","labels":{"a":1}}', 422),
        ("POST", "/workers", b"", b'{"url":"http://a:1","labels":{"-":"x"}}', 400),
        ("POST", "/workers", b"", b'{"url":"http://a:1","worker_type":"encode"}', 400),
        ("GET", "/flush_cache", b"", b"", 405),
        ("POST", "/get_server_info", b"", b"", 405),
        ("POST", "/workers", b"", b"x" * 70_000, 413),
        ("GET", "/add_worker", b"url=http://a:1", b"", 405),
        ("POST", "/list_workers", b"", b"", 405),
        ("DELETE", "/workers", b"", b"", 405),
        ("POST", f"/workers/{A}", b"", b"", 405),
    ],
)
def test_what_can_not_be_understood_goes_nowhere(
    method: str, path: str, query: bytes, body: bytes, status: int
) -> None:
    async def scene() -> None:
        port = Port()
        assert (await port.ask(method, path, query, body)).status == status
        assert port.sent == []

    play(scene)


def test_what_a_new_worker_is_like_is_passed_on() -> None:
    async def scene() -> None:
        port = Port()
        body = {
            "url": A, "model_id": "m", "priority": 7, "cost": 2.5, "worker_type": "regular", "labels": {"zone": "a"},
            "bootstrap_port": 1, "tokenizer_path": "/x", "tool_parser": "y", "chat_template": "z",
        }  # fmt: skip
        await port.ask("POST", "/workers", body=json.dumps(body).encode(), code="")
        transfer = TransferAttributes(bootstrap_port=1)
        assert port.said == [WorkerAttributes(role="regular", priority=7, labels={"zone": "a"}, transfer=transfer)]

    play(scene)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/get_server_info"),
        ("GET", "/get_model_info"),
        ("GET", "/health_generate"),
        ("POST", "/flush_cache"),
        ("GET", "/workers"),
        ("GET", f"/workers/{A}"),
        ("GET", "/get_loads"),
        ("POST", "/add_worker"),
        ("DELETE", f"/workers/{A}"),
    ],
)
def test_they_can_be_turned_off(method: str, path: str) -> None:
    async def scene() -> None:
        port = Port(admin_on_main=False)
        answer = await port.ask(method, path, b"url=http://a:1")
        assert answer.status == 404
        assert json.loads(answer.body)["error"]["code"] == "admin_not_on_main"
        assert port.sent == []

    play(scene)


def test_without_a_control_plane_nothing_is_said_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        unreached = await Port(reaches=False).ask("POST", "/add_worker", b"url=http://a:1")
        defaults = FleetCommands.ask.__kwdefaults__
        assert defaults is not None
        assert defaults["patience"] == fleet_commands.ANSWER_TIMEOUT
        monkeypatch.setitem(defaults, "patience", 0.01)
        unanswered = await Port().ask("POST", "/add_worker", b"url=http://a:1")
        for answer in (unreached, unanswered):
            assert answer.status == 503
            assert json.loads(answer.body)["error"]["code"] == "control_plane_down"

    play(scene)


def test_a_client_that_leaves_is_not_answered() -> None:
    async def scene() -> None:
        port = Port()
        transaction = port.begin("POST", "/add_worker", b"url=http://a:1")
        await until(lambda: bool(port.sent))
        transaction.leave()
        await until(lambda: transaction.done_calls == 1)
        port.commands.take(FleetAnswer(1, STAMP, "", ""))
        assert transaction.sent == []
        assert port.accounting.aborted["client"] == 1
        assert port.accounting.active == 0

    play(scene)


def test_commands_under_way_are_bounded() -> None:
    async def scene() -> None:
        port = Port()
        answers: list[FleetAnswer | None] = []
        for _ in range(fleet_commands.MAX_PENDING + 1):
            port.commands.ask("add", A, answers.append)
        assert answers == [None]
        for number in range(1, fleet_commands.MAX_PENDING + 1):
            port.commands.forget(number)

    play(scene)
