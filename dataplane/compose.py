"""A client's request as a worker gets it: which fields go on, and with which body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane import client_keys
from dataplane.client_rank import OWN_RANK
from dataplane.leg import Message
from dataplane.tracing.context import REPLACED as TRACEPARENT_FIELD
from dataplane.upstream.head import Headers, added_lines, field_lines, request_line

if TYPE_CHECKING:
    from dataplane.fleet import Fleet
    from dataplane.request import Request


def compose(
    request: Request,
    fleet: Fleet,
    body: bytes | bytearray,
    *,
    without: frozenset[bytes] = frozenset(),
    fields: Headers = (),
) -> Message:
    """Return the request with another body, and with `fields` in the place of the client's and of those `without`.

    A request id among the `fields` stands in the place of the client's, too.
    """
    client = request.client
    line = request_line(client.method, client.scope["raw_path"], client.scope["query_string"])
    authorization = fleet.worker_key.authorization
    replaced = OWN_RANK if fleet.view.ranks else frozenset()
    if request.trace is not None:
        # Each attempt has its own.
        replaced |= TRACEPARENT_FIELD
    if client.key is not None:
        # It was for the router: no worker is told.
        authorization, replaced = authorization or "", replaced | client_keys.FIELDS
    request_id = request.id
    headers = client.headers
    if fields or without:
        names = without.union(name for name, _ in fields)
        request_id = next((value for name, value in fields if name == b"x-request-id"), request_id)
        headers = [*(field for field in headers if field[0] not in names), *fields]
        replaced -= names
    lines = field_lines(headers, request_id, client.method, len(body), authorization, replaced)
    if client.forwarded is not None:
        lines = added_lines(client.forwarded.fields) + lines
    return line, lines, body
