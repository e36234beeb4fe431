"""Values in a request's query, read as the servers behind the router read them."""

from __future__ import annotations

from urllib.parse import parse_qsl

from dataplane.client import Client


def query_value(client: Client, name: str) -> str:
    """Return a name's value in the query, the last of several as at vLLM's server; empty for none."""
    query: bytes = client.scope["query_string"]
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get(name, "")
