"""vllm-router's and mvllm's endpoints about the fleet, on the main port and with their shapes.

What they tell comes from this plane's table and loads; what they change is passed on to the control plane.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dataplane.client import Client
from dataplane.fleet import Fleet
from dataplane.fleet_commands import FleetCommands
from dataplane.forward import Forwarder
from dataplane.mvllm_answers import load_stats, server_models
from dataplane.own_routes import JSON, TEXT, Answer
from dataplane.query import query_value
from dataplane.receipts import MAX_TEXT
from shared.adapters import PATIENCE, VERBS, AdapterAnswer, AdapterOrder, AdapterVerb
from shared.decoding import DECODE_ERRORS
from shared.errors import (
    RouterError,
    adapter_for_nobody,
    admin_not_on_main,
    bad_adapter,
    control_plane_down,
    from_a_web_page,
    method_not_allowed,
    payload_too_large,
)
from shared.messages import FleetAnswer, FleetVerb
from shared.table import Worker
from shared.worker_attributes import NOTHING_SAID, WorkerAttributes, wrong_attributes

MAX_BODY = 64 * 1024
_ONE = "/workers/"
_OF_FIRST_WORKER = ("/get_server_info", "/get_model_info", "/health_generate")


class WorkerConfigRequest(msgspec.Struct):
    """The body of `POST /workers`. vllm-router's other fields mean nothing here and are passed over."""

    url: str
    priority: int | None = None
    worker_type: str | None = None
    labels: dict[str, str] = {}
    bootstrap_port: int | None = None

    def attributes(self) -> WorkerAttributes:
        """Return what it says of the worker. Raises ValueError."""
        said: dict[str, object] = {"role": self.worker_type, "priority": self.priority, "labels": self.labels}
        if self.bootstrap_port is not None:
            said["transfer"] = {"bootstrap_port": self.bootstrap_port}
        for name, fault in wrong_attributes(said):
            raise ValueError(f"{'worker_type' if name == 'role' else name} {fault}")
        return msgspec.convert(said, WorkerAttributes)


def tell(fleet: Fleet, path: str) -> Answer:
    """Return the answer to GET."""
    workers = fleet.view.table.workers.values()
    loads = fleet.engine_loads()
    if path == "/load-stats":
        return _json(load_stats(workers, fleet.figures()))
    if path == "/server-models":
        return _json(server_models(workers))
    if path == "/scheduling/diagnostics":
        return _json({"enabled": False, "error": "This router does not schedule programs"}, 404)
    if path == "/list_workers":
        return _json({"urls": [worker.id for worker in workers]})
    if path == "/get_loads":
        return _json({"workers": [{"worker": worker.id, "load": loads.get(worker.id, -1)} for worker in workers]})
    if path == "/workers":
        told = [
            {
                "url": worker.id,
                "model_id": worker.models[0] if worker.models else "unknown",
                "worker_type": worker.role,
                "is_healthy": worker.state == "ready",
                "load": loads.get(worker.id, 0),
                "connection_mode": "Http",
                "priority": worker.priority,
                "cost": 1.0,
                **_bootstrap_port(worker),
            }
            for worker in workers
        ]
        roles = [worker.role for worker in workers]
        stats = {f"{role}_count": roles.count(role) for role in ("prefill", "decode", "regular")}
        return _json({"workers": told, "total": len(told), "stats": stats})
    worker = fleet.view.table.workers.get(path.removeprefix(_ONE).rstrip("/"))
    if worker is None:
        return _json({"error": f"Worker {path.removeprefix(_ONE)} not found", "code": "WORKER_NOT_FOUND"}, 404)
    model = worker.models[0] if worker.models else "unknown"
    return _json({"url": worker.id, "model_id": model, "is_healthy": worker.state == "ready"})


def _bootstrap_port(worker: Worker) -> dict[str, int]:
    port = worker.transfer.bootstrap_port if worker.transfer is not None else None
    return {} if port is None else {"bootstrap_port": port}


def outcome(path: str, url: str, answer: FleetAnswer) -> Answer:
    """Return the answer to a change, by what the control plane said."""
    if path == "/flush_cache":
        if answer.code:
            return Answer(500, TEXT, b"Cache flush failed on one or more servers")
        return Answer(200, TEXT, b"Cache flushed on all servers")
    is_add = path == "/add_worker" or path == "/workers"
    in_json = path.startswith("/workers")
    if answer.code and (is_add or answer.code != "worker_not_found"):
        text = f"Worker {url} already exists" if answer.code == "worker_exists" else answer.message
        if in_json:
            return _json({"error": text, "code": "ADD_WORKER_FAILED" if is_add else "REMOVE_WORKER_FAILED"}, 400)
        return Answer(400, TEXT, text.encode())
    text = f"Successfully {'added' if is_add else 'removed'} worker: {url}"
    if not in_json:
        return Answer(200, TEXT, text.encode())
    return _json({"success": True, "message": text if is_add else f"Worker {url} removed successfully"})


class FleetRequest:
    """One request to these endpoints."""

    def __init__(self, forwarder: Forwarder, commands: FleetCommands, client: Client) -> None:
        self._forwarder = forwarder
        self._commands = commands
        self._client = client
        self._arrived = forwarder.loop.time()
        self._number: int | None = None

    def begin(self) -> None:
        """Take it in."""
        client = self._client
        methods = client.route.methods
        is_shown = self._forwarder.fleet.view.settings.admin_on_main
        if is_shown and client.path in _OF_FIRST_WORKER and client.method in methods:
            self._forwarder.forward(client, to_first=True)
            return
        self._forwarder.accounting.accept()
        if not is_shown:
            self._refuse(admin_not_on_main())
        elif client.method not in methods:
            self._refuse(method_not_allowed(client.path, ", ".join(methods)))
        elif client.method not in ("GET", "HEAD") and b"origin" in client.fields:
            # Browsers ask nobody before a page's simple POST, and the router may be on a developer's own machine.
            self._refuse(from_a_web_page())
        elif client.method in ("GET", "HEAD"):
            self._answer(tell(self._forwarder.fleet, client.path))
        else:
            try:
                client.read_body(MAX_BODY, self._received, self._left)
            except RouterError as error:
                self._refuse(error)

    def _received(self, body: bytes | bytearray) -> None:
        path = self._client.path
        if len(body) > MAX_BODY:
            self._refuse(payload_too_large(MAX_BODY))
        elif path.startswith(_ONE):
            self._ask("remove", path.removeprefix(_ONE))
        elif path == "/flush_cache":
            self._ask("flush-cache", "")
        elif path == "/workers":
            self._add(body)
        elif path in VERBS:
            self._order(VERBS[path], body)
        else:
            wanted = "session_id" if path == "/finish_session" else "url"
            value = query_value(self._client, wanted)
            if not value:
                what = "Session id" if wanted == "session_id" else "Worker URL"
                self._answer(Answer(400, TEXT, f"{what} required. Provide '{wanted}' query parameter.".encode()))
            elif path == "/finish_session":
                self._forwarder.fleet.policy.finish_session(value)
                self._answer(_json({"status": "ok", "session_id": value}))
            else:
                self._ask("add" if path == "/add_worker" else "remove", value)

    def _add(self, body: bytes | bytearray) -> None:
        try:
            wanted = msgspec.json.decode(body, type=WorkerConfigRequest)
            said = wanted.attributes()
        except (ValueError, *DECODE_ERRORS) as error:
            # As vllm-router's: 422 for JSON that is no such request.
            status = 422 if isinstance(error, msgspec.ValidationError) else 400
            self._answer(_json({"error": f"The body can not be taken: {error}", "code": "ADD_WORKER_FAILED"}, status))
        else:
            self._ask("add", wanted.url, said)

    def _order(self, verb: AdapterVerb, body: bytes | bytearray) -> None:
        model = query_value(self._client, "model") or None
        order = AdapterOrder(body=body.decode("utf-8", "replace"), model=model)

        def done(answer: FleetAnswer | None) -> None:
            self._number = None
            if answer is None:
                self._refuse(control_plane_down())
            else:
                self._tell(msgspec.json.decode(answer.message, type=AdapterAnswer))

        self._await(self._commands.ask(verb, msgspec.json.encode(order).decode(), done, patience=PATIENCE))

    def _tell(self, answer: AdapterAnswer) -> None:
        report, problem = answer.report, answer.problem
        if problem is not None:
            refused = bad_adapter if problem.code == "bad_adapter" else adapter_for_nobody
            self._refuse(refused(problem.message))
        elif report is not None:
            self._answer(Answer(report.status, JSON, msgspec.json.encode(report)))

    def _ask(self, verb: FleetVerb, url: str, said: WorkerAttributes = NOTHING_SAID) -> None:
        def done(answer: FleetAnswer | None) -> None:
            self._number = None
            if answer is None:
                self._refuse(control_plane_down())
            else:
                self._answer(outcome(self._client.path, url, answer))

        self._await(self._commands.ask(verb, url, done, said))

    def _await(self, number: int) -> None:
        if self._commands.awaits(number):
            self._number = number
            self._client.watch()

    def _left(self) -> None:
        if self._number is not None:
            self._commands.forget(self._number)
        route, method = self._client.route.path, self._client.method
        self._forwarder.accounting.abort("client", "receiving", route, method)
        self._client.close()

    def _refuse(self, error: RouterError) -> None:
        client = self._client
        request_id = self._forwarder.request_id(client)
        client.answer_error(error, request_id)
        self._forwarder.accounting.reject(client.route.path, client.method, error)
        self._forwarder.refused(client, request_id, error)
        client.close()

    def _answer(self, answer: Answer) -> None:
        client = self._client
        request_id = self._forwarder.request_id(client)
        client.answer_plainly(answer.status, answer.content_type, answer.body, request_id)
        duration = self._forwarder.loop.time() - self._arrived
        self._forwarder.accounting.finish(client.route.path, client.method, answer.status, duration, duration)
        if answer.status >= 400:
            cause = answer.body[:MAX_TEXT].decode("utf-8", "replace")
            self._forwarder.answered_itself(client, request_id, "answered", answer.status, cause)
        client.close()


def _json(value: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, JSON, msgspec.json.encode(value))
