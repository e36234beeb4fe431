"""What a plane does with a request: its own paths it answers itself, all others go to a worker.

The path of a request: `arrivals.py` -> here -> `forward.py` -> `request.py` -> `policies/` -> `exchange.py` ->
`upstream/`.
"""

from __future__ import annotations

import asyncio

from dataplane.client import Client
from dataplane.fleet_commands import FleetCommands
from dataplane.fleet_routes import FleetRequest
from dataplane.forward import Forwarder
from dataplane.gate import Gate
from dataplane.own_routes import NOT_READY, Answer, draining, is_answered, own_answer
from shared.errors import RouterError, admin_not_on_main, loop_detected, method_not_allowed, unknown_path
from shared.probe_mark import is_own_probe
from shared.routes import UNKNOWN


class PlaneApplication:
    """Called by the server once per request."""

    def __init__(self, forwarder: Forwarder, commands: FleetCommands | None = None, gate: Gate | None = None) -> None:
        """`commands` is the way to the control plane; without one nothing of the fleet can be changed here.

        `gate` is what requests have to pass; without one everybody may come in.
        """
        self._gate = gate or Gate()
        self._forwarder = forwarder
        self._commands = commands or FleetCommands()
        self._loop = asyncio.get_running_loop()

    def handle(self, client: Client) -> None:
        """Take a request in."""
        try:
            client.check()
            if b"origin" in client.fields and (told := self._gate.preflight(client)) is not None:
                self._answer_preflight(client, told)
                return
            if self._gate.is_guarded:
                self._gate.let_in(client)
        except RouterError as error:
            self._refuse(client, error)
            return
        forwarder = self._forwarder
        if forwarder.draining:
            client.is_last = True
        route = client.route
        if route.owner == "worker":
            if route is UNKNOWN:
                self._pass_on(client)
            else:
                forwarder.forward(client)
        elif route.owner == "plane":
            if is_answered(forwarder.fleet.view, client.path):
                self._answer_itself(client)
            else:
                self._pass_on(client)
        elif route.owner == "fleet":
            FleetRequest(forwarder, self._commands, client).begin()
        elif forwarder.fleet.view.settings.admin_on_main:
            forwarder.forward(client)
        else:
            self._refuse(client, admin_not_on_main())

    def _pass_on(self, client: Client) -> None:
        """Forward what no row of `shared.routes` is for."""
        if self._forwarder.fleet.view.settings.strict_paths:
            self._refuse(client, unknown_path())
        else:
            self._forwarder.forward(client)

    def _refuse(self, client: Client, error: RouterError) -> None:
        accounting = self._forwarder.accounting
        accounting.accept()
        request_id = self._forwarder.request_id(client)
        client.answer_error(error, request_id)
        accounting.reject(client.route.path, client.method, error)
        self._forwarder.refused(client, request_id, error)
        client.close()

    def _answer_preflight(self, client: Client, told: list[tuple[bytes, bytes]]) -> None:
        arrived = self._loop.time()
        accounting = self._forwarder.accounting
        accounting.accept()
        client.answer(204, [*told, (b"x-request-id", self._forwarder.request_id(client))], b"")
        duration = self._loop.time() - arrived
        accounting.finish(client.route.path, client.method, 204, duration, duration)
        client.close()

    def _answer_itself(self, client: Client) -> None:
        arrived = self._loop.time()
        try:
            answer = self._own_answer(client)
        except RouterError as error:
            self._refuse(client, error)
            return
        accounting = self._forwarder.accounting
        accounting.accept()
        client.answer_plainly(answer.status, answer.content_type, answer.body, self._forwarder.request_id(client))
        duration = self._loop.time() - arrived
        accounting.finish(client.route.path, client.method, answer.status, duration, duration)
        client.close()

    def _own_answer(self, client: Client) -> Answer:
        if client.method not in ("GET", "HEAD"):
            raise method_not_allowed(client.path, "GET, HEAD")
        forwarder = self._forwarder
        if is_own_probe(client.fields, forwarder.fleet.view.table.stamp.epoch):
            raise loop_detected()
        if forwarder.draining and not forwarder.ready and client.path in NOT_READY:
            return draining(forwarder.fleet.view)
        return own_answer(forwarder.fleet.view, client.path, client.route, client.key)
