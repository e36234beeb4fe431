"""vllm-router's endpoints about the fleet, on the main port and with its shapes.

What they tell comes from this plane's table and loads; what they change is passed on to the control plane.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from dataplane.client import Client
from dataplane.fleet import Fleet
from dataplane.fleet_commands import FleetCommands
from dataplane.forward import Forwarder
from dataplane.own_routes import JSON, TEXT, Answer
from shared.catalog import route_label
from shared.decoding import DECODE_ERRORS
from shared.errors import RouterError, admin_not_on_main, control_plane_down, method_not_allowed, payload_too_large
from shared.messages import FleetAnswer, FleetVerb

MAX_BODY = 64 * 1024
_ONE = "/workers/"
_METHODS = {
    "/list_workers": ("GET", "HEAD"),
    "/get_loads": ("GET", "HEAD"),
    "/workers": ("GET", "HEAD", "POST"),
    "/add_worker": ("POST",),
    "/remove_worker": ("POST",),
}
_ONE_METHODS = ("GET", "HEAD", "DELETE")


class _Add(msgspec.Struct):
    url: str


def is_fleet_path(path: str) -> bool:
    """Whether a path is one of these."""
    return path in _METHODS or path.startswith(_ONE)


def tell(fleet: Fleet, path: str) -> Answer:
    """Return the answer to GET."""
    workers = fleet.view.table.workers.values()
    loads = fleet.engine_loads()
    if path == "/list_workers":
        return _json({"urls": [worker.url for worker in workers]})
    if path == "/get_loads":
        return _json({"workers": [{"worker": worker.url, "load": loads.get(worker.id, -1)} for worker in workers]})
    if path == "/workers":
        told = [
            {
                "url": worker.url,
                "model_id": worker.models[0] if worker.models else "unknown",
                "worker_type": worker.role,
                "is_healthy": worker.state == "ready",
                "load": loads.get(worker.id, 0),
                "connection_mode": "Http",
                "priority": 50,
                "cost": 1.0,
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
    return _json({"url": worker.url, "model_id": model, "is_healthy": worker.state == "ready"})


def outcome(path: str, url: str, answer: FleetAnswer) -> Answer:
    """Return the answer to a change, by what the control plane said."""
    is_add = path == "/add_worker" or path == "/workers"
    in_json = path.startswith("/workers")
    if answer.code and (is_add or answer.code != "worker_not_found"):
        text = f"Worker {url} already exists" if answer.code == "worker_exists" else answer.message
        if in_json:
            return _json({"error": text, "code": "ADD_WORKER_FAILED" if is_add else "REMOVE_WORKER_FAILED"}, 400)
        return Answer(400, TEXT, text.encode())
    text = f"Successfully {'added' if is_add else 'removed'} worker: {url}"
    return _json({"success": True, "message": text}) if in_json else Answer(200, TEXT, text.encode())


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
        self._forwarder.accounting.accept()
        client = self._client
        methods = _METHODS.get(client.path, _ONE_METHODS)
        if not self._forwarder.fleet.view.settings.admin_on_main:
            self._refuse(admin_not_on_main())
        elif client.method not in methods:
            self._refuse(method_not_allowed(client.path, ", ".join(methods)))
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
        elif path == "/workers":
            try:
                self._ask("add", msgspec.json.decode(body, type=_Add).url)
            except DECODE_ERRORS as error:
                self._answer(_json({"error": f"The body has no url: {error}", "code": "ADD_WORKER_FAILED"}, 400))
        else:
            query = parse_qs(self._client.scope["query_string"].decode("latin-1"), max_num_fields=16)
            url = query.get("url", [""])[0]
            if not url:
                self._answer(Answer(400, TEXT, b"Worker URL required. Provide 'url' query parameter."))
            else:
                self._ask("add" if path == "/add_worker" else "remove", url)

    def _ask(self, verb: FleetVerb, url: str) -> None:
        def done(answer: FleetAnswer | None) -> None:
            self._number = None
            if answer is None:
                self._refuse(control_plane_down())
            else:
                self._answer(outcome(self._client.path, url, answer))

        number = self._commands.ask(verb, url, done)
        if self._commands.awaits(number):
            self._number = number
            self._client.watch()

    def _left(self) -> None:
        if self._number is not None:
            self._commands.forget(self._number)
        self._forwarder.accounting.abort("client")
        self._client.close()

    def _refuse(self, error: RouterError) -> None:
        client = self._client
        client.answer_error(error, self._forwarder.request_id(client))
        self._forwarder.accounting.reject(route_label(client.path), client.method, error)
        client.close()

    def _answer(self, answer: Answer) -> None:
        client = self._client
        headers = [(b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body))]
        client.answer(answer.status, headers, b"" if client.method == "HEAD" else answer.body)
        duration = self._forwarder.loop.time() - self._arrived
        self._forwarder.accounting.finish(route_label(client.path), client.method, answer.status, duration, duration)
        client.close()


def _json(value: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, JSON, msgspec.json.encode(value))
