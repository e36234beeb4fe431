"""The model of a request whose body is not JSON: in the query, or in a multipart form."""

from __future__ import annotations

from urllib.parse import parse_qs

from dataplane.client import Client
from dataplane.form import form_model

ELSEWHERE = frozenset({"form", "query"})
_MOST = 256
"""Characters of a model's name that are looked at."""


def model_elsewhere(client: Client, body: bytes | bytearray) -> str | None:
    """Return the model that a request names; None when it names none."""
    if client.route.model == "form":
        return form_model(body, client.fields)
    query = parse_qs(client.scope["query_string"].decode("latin-1"), max_num_fields=64)
    name = query.get("model", [""])[0]
    return name if 0 < len(name) <= _MOST else None
