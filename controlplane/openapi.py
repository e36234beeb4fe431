"""The OpenAPI document of the admin API. Written by hand; a test holds it against the routes."""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane.admin_workers import Changed
from controlplane.reload import Reloaded
from controlplane.status_report import StatusReport, WorkerStatus
from shared.receipt import Receipt
from shared.version import __version__

_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The worker's URL, percent-encoded.",
    "schema": {"type": "string"},
}
_REQUEST = {
    "name": "request",
    "in": "path",
    "required": True,
    "description": "The request's id, as its answer had it in x-request-id; percent-encoded.",
    "schema": {"type": "string"},
}
_FORCE = {
    "name": "force",
    "in": "query",
    "description": "Do not wait until the open requests have ended. They are not cut off.",
    "schema": {"type": "boolean"},
}


def document() -> dict[str, Any]:
    """Return the document."""
    _, schemas = msgspec.json.schema_components(
        (StatusReport, WorkerStatus, Changed, Reloaded, Receipt), ref_template="#/components/schemas/{name}"
    )
    schemas["Error"] = _error()
    return {
        "openapi": "3.1.0",
        "info": {"title": "routerctl admin API", "version": __version__},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "--admin-token-file, when it is given."}
            },
        },
        "security": [{"token": []}, {}],
        "paths": {
            "/status": {"get": _does("The router's processes and workers.", "StatusReport")},
            "/reload": {"post": _does("Read the configuration again; 409 when it is refused.", "Reloaded")},
            "/explain/{request}": {
                "parameters": [_REQUEST],
                "get": _does("Why a request went where it went; 404 when no plane knows of it.", "Receipt"),
            },
            "/openapi.json": {"get": _does("This document.", None)},
            "/workers": {
                "get": _does("All workers.", None, shape=_list()),
                "post": {
                    **_does("Add a worker; it gets requests once it is ready.", "Changed", status="201"),
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _add()}}},
                },
            },
            "/workers/{id}": {
                "parameters": [_ID],
                "get": _does("One worker.", "WorkerStatus"),
                "delete": {
                    **_does("Remove a worker: no new requests; gone once the open ones have ended.", "Changed"),
                    "parameters": [_FORCE],
                },
            },
            "/workers/{id}/drain": {
                "parameters": [_ID],
                "post": _does("No new requests; the open ones go on.", "Changed"),
            },
            "/workers/{id}/undrain": {"parameters": [_ID], "post": _does("Requests again.", "Changed")},
        },
    }


def _does(
    summary: str, schema: str | None, *, status: str = "200", shape: dict[str, Any] | None = None
) -> dict[str, Any]:
    schema_of = shape or ({"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"})
    refusal = {"$ref": "#/components/schemas/Error"}
    return {
        "summary": summary,
        "responses": {
            status: {"description": "Done.", "content": {"application/json": {"schema": schema_of}}},
            "default": {"description": "Refused.", "content": {"application/json": {"schema": refusal}}},
        },
    }


def _list() -> dict[str, Any]:
    items = {"$ref": "#/components/schemas/WorkerStatus"}
    return {"type": "object", "required": ["workers"], "properties": {"workers": {"type": "array", "items": items}}}


def _add() -> dict[str, Any]:
    url = {"type": "string", "description": "http(s)://host:port"}
    return {"type": "object", "required": ["url"], "additionalProperties": False, "properties": {"url": url}}


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    fields = {"message": text, "type": text, "param": {"type": ["string", "null"]}, "code": text}
    return {"type": "object", "required": ["error"], "properties": {"error": {"type": "object", "properties": fields}}}
