"""The model of a request whose body is not JSON: in the query, or in a multipart form."""

from __future__ import annotations

from dataplane.client import Client
from dataplane.form import form_model
from dataplane.query import query_value

ELSEWHERE = frozenset({"form", "query"})
_MOST = 256
"""Characters of a model's name that are looked at."""


def model_elsewhere(client: Client, body: bytes | bytearray) -> str | None:
    """Return the model that a request names; None when it names none."""
    if client.route.model == "form":
        # Of two content types servers differ in which one counts.
        types = [name for name, _ in client.headers if name == b"content-type"]
        return form_model(body, client.fields) if len(types) == 1 else None
    name = query_value(client, "model")
    return name if 0 < len(name) <= _MOST else None
