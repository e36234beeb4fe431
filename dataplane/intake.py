"""What a request's body tells: its model, the response that it goes on with, and what is left of it to be forwarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.client_rank import client_rank
from dataplane.load_header import may_ask
from dataplane.model_elsewhere import ELSEWHERE, model_elsewhere
from dataplane.peek import KV_TRANSFER, peek
from dataplane.response_homes import FAMILY as RESPONSES
from dataplane.response_homes import wanted_response
from dataplane.splice import without_members
from dataplane.take_arm import take_arm
from shared.errors import payload_too_large, unreadable_body

if TYPE_CHECKING:
    from dataplane.fleet_view import FleetView
    from dataplane.forward import Forwarder
    from dataplane.request import Request


def take_in(forwarder: Forwarder, view: FleetView, request: Request, body: bytes | bytearray) -> None:
    """Note in a request what its whole body tells. Raises RouterError."""
    settings, client = view.settings, request.client
    limit = settings.max_payload_size
    if len(body) > limit:
        raise payload_too_large(limit)
    if view.ranks:
        request.rank = client_rank(client.headers, view.ranks, refused=settings.refuse_client_rank)
    found = peek(body)
    named = model_elsewhere(client, body) if client.route.model in ELSEWHERE else found.model
    # An empty name is none for vLLM, too.
    request.model = request.served = named or None
    if client.key is not None:
        client.key.admit(request.model, client.method, client.route)
    if found.hands_over() and not settings.trust_kv_transfer_params:
        try:
            body = without_members(body, KV_TRANSFER)
        except (ValueError, RecursionError):
            raise unreadable_body() from None
        forwarder.accounting.spliced["kv_transfer_params"] += 1
    request.body = body
    if client.route.family == RESPONSES:
        request.wanted = wanted_response(client.path, client.route, body)
        request.to_first = bool(request.wanted)
    if view.routes:
        take_arm(forwarder, view, request)
    request.may_ask_for_load = settings.load_header and may_ask(client.route, client.fields)
