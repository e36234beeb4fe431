"""The OpenAPI document of the admin API. Written by hand; a test holds it against the routes."""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane.admin_config import Apply, Reload, Rollback
from controlplane.admin_monitor import MOST_EVENTS, USUAL_EVENTS
from controlplane.admin_planes import PlaneList
from controlplane.admin_report import USUAL_SECONDS
from controlplane.admin_title import ADMIN_TITLE
from controlplane.admin_workers import Changed, WorkerList
from controlplane.cache_flush import Flushed
from controlplane.config_history import Entry
from controlplane.configuration import ConfigView, HistoryView
from controlplane.events.reading import MAX_EVENTS, Events
from controlplane.figures.monitor import Monitor, Summary
from controlplane.page.history import History
from controlplane.reload_rules import Reloaded
from controlplane.reports.shapes import Report
from controlplane.status_report import PlaneStatus, StatusReport, WorkerStatus
from controlplane.supervisor_socket import PlanesRestarted
from shared.adapters import AdapterBody, AdapterReport
from shared.receipt import Receipt
from shared.request_lines import MAX_LINES, RequestLines
from shared.version import __version__
from shared.worker_attributes import AttributeChange, ConfiguredWorker

_SHAPES = (
    StatusReport,
    WorkerList,
    WorkerStatus,
    PlaneList,
    PlaneStatus,
    Changed,
    Reloaded,
    AdapterBody,
    AdapterReport,
    Flushed,
    ConfigView,
    HistoryView,
    Entry,
    Apply,
    Rollback,
    Reload,
    PlanesRestarted,
    ConfiguredWorker,
    AttributeChange,
    Receipt,
    RequestLines,
    Events,
    Monitor,
    Summary,
    Report,
    History,
)
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
_LABEL = {
    "name": "label",
    "in": "query",
    "description": "Only workers with this label, as name=text. It may be given several times.",
    "schema": {"type": "array", "items": {"type": "string"}},
}

_AFTER = {
    "name": "after",
    "in": "query",
    "description": "Only events later than this Unix time, in seconds.",
    "schema": {"type": "number", "default": 0},
}
_LIMIT = {
    "name": "limit",
    "in": "query",
    "description": "The newest so many at most.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_EVENTS, "default": MAX_EVENTS},
}
_EVENTS = {
    "name": "events",
    "in": "query",
    "description": "The newest so many at most, out of the last 32 KiB of each file.",
    "schema": {"type": "integer", "minimum": 0, "maximum": MOST_EVENTS, "default": USUAL_EVENTS},
}
_LINES = {
    "name": "limit",
    "in": "query",
    "description": "So many of each kind at most.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LINES, "default": MAX_LINES},
}
_TROUBLED = {
    "name": "troubled",
    "in": "query",
    "description": "Of the last ones only those in which something went wrong, which are remembered for longer; none "
    "that the router refused with 4xx.",
    "schema": {"type": "boolean"},
}
_SECONDS = {
    "name": "seconds",
    "in": "query",
    "description": "How far to go back; 0 for all that is kept.",
    "schema": {"type": "number", "minimum": 0, "default": USUAL_SECONDS},
}
_MODEL = {
    "name": "model",
    "in": "query",
    "description": "Only workers that serve this model.",
    "schema": {"type": "string"},
}
_NUMBER = {"name": "number", "in": "path", "required": True, "schema": {"type": "integer"}}


def document() -> dict[str, Any]:
    """Return the document."""
    _, schemas = msgspec.json.schema_components(_SHAPES, ref_template="#/components/schemas/{name}")
    schemas["Error"] = _error()
    return {
        "openapi": "3.1.0",
        "info": {"title": ADMIN_TITLE, "version": __version__},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "--admin-token-file, when it is given."}
            },
        },
        "security": [{"token": []}, {}],
        "paths": {
            "/status": {"get": _does("The router's processes and workers.", "StatusReport")},
            "/reload": {
                "post": {
                    **_does("Read the configuration again; 409 when it is refused.", "Reloaded"),
                    **_takes("Reload", "application/json"),
                }
            },
            "/config": {"get": _does("The values in use, and where each comes from.", "ConfigView")},
            "/config/history": {"get": _does("The configurations that were in use.", "HistoryView")},
            "/config/history/{number}": {
                "parameters": [_NUMBER],
                "get": _does("One of them, with the text of the file.", "Entry"),
            },
            "/config/apply": {
                "post": {
                    **_does("Give the file another text and go by it; 409 when it is refused.", "Reloaded"),
                    **_takes("Apply", "application/json"),
                }
            },
            "/config/rollback": {
                "post": {
                    **_does("Give the file an earlier text and go by it; 409 when it is refused.", "Reloaded"),
                    **_takes("Rollback", "application/json"),
                }
            },
            "/events": {
                "get": {**_does("What changed in the fleet, and why.", "Events"), "parameters": [_AFTER, _LIMIT]},
            },
            "/monitor": {
                "get": {
                    **_does("What a monitor shows: the fleet at a glance, all of /status, the last events.", "Monitor"),
                    "parameters": [_EVENTS],
                },
            },
            "/summary": {"get": _does("The fleet at a glance.", "Summary")},
            "/report": {"get": {**_does("What the router did over hours.", "Report"), "parameters": [_SECONDS]}},
            "/explain/{request}": {
                "parameters": [_REQUEST],
                "get": _does("Why a request went where it went; 404 when no plane knows of it.", "Receipt"),
            },
            "/requests": {
                "get": {
                    **_does("Open requests, the oldest first, and the last ones, the newest first.", "RequestLines"),
                    "parameters": [_LINES, _TROUBLED],
                },
            },
            "/planes": {"get": _does("All planes.", "PlaneList")},
            "/planes/restart": {
                "post": {
                    **_does(
                        "Replace planes by new ones, one after the other; 409 when it is refused, 500 when a new one "
                        "does not come up.",
                        "PlanesRestarted",
                    ),
                    "requestBody": {"content": {"application/json": {"schema": _slots()}}},
                }
            },
            "/v1/load_lora_adapter": _adapter("Have the workers load a LoRA adapter; 502 when one did not."),
            "/v1/unload_lora_adapter": _adapter("Have the workers unload one; 502 when one did not."),
            "/flush_cache": {"post": _does("Empty all workers' prefix caches; 502 when one did not.", "Flushed")},
            "/live": {
                "get": {
                    "summary": "What the page follows, as server-sent events: `change` with the records that changed, "
                    "`events` with what happened.",
                    "responses": {"200": {"description": "It goes on.", "content": {"text/event-stream": {}}}},
                }
            },
            "/openapi.json": {"get": _does("This document.", None)},
            "/workers": {
                "get": {
                    **_does("All workers, or those with these labels.", "WorkerList"),
                    "parameters": [_LABEL],
                },
                "post": {
                    **_does("Add a worker; it gets requests once it is ready.", "Changed", status="201"),
                    **_takes("ConfiguredWorker", "application/json"),
                },
            },
            "/workers/{id}": {
                "parameters": [_ID],
                "get": _does("One worker.", "WorkerStatus"),
                "patch": {
                    **_does("Change what it is like; null goes back to what the configuration says.", "Changed"),
                    **_takes("AttributeChange", "application/merge-patch+json", "application/json"),
                },
                "delete": {
                    **_does("Remove a worker: no new requests; gone once the open ones have ended.", "Changed"),
                    "parameters": [_FORCE],
                },
            },
            "/workers/{id}/history": {
                "parameters": [_ID],
                "get": _does("A worker's figures of the last ten minutes.", "History"),
            },
            "/workers/{id}/drain": {
                "parameters": [_ID],
                "post": _does("No new requests; the open ones go on.", "Changed"),
            },
            "/workers/{id}/undrain": {"parameters": [_ID], "post": _does("Requests again.", "Changed")},
        },
    }


def _does(summary: str, schema: str | None, *, status: str = "200") -> dict[str, Any]:
    schema_of = {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}
    refusal = {"$ref": "#/components/schemas/Error"}
    return {
        "summary": summary,
        "responses": {
            status: {"description": "Done.", "content": {"application/json": {"schema": schema_of}}},
            "default": {"description": "Refused.", "content": {"application/json": {"schema": refusal}}},
        },
    }


def _adapter(summary: str) -> dict[str, Any]:
    return {
        "parameters": [_MODEL],
        "post": {**_does(summary, "AdapterReport"), **_takes("AdapterBody", "application/json")},
    }


def _slots() -> dict[str, Any]:
    slots = {"type": "array", "items": {"type": "integer"}, "description": "All planes, when it is empty or missing."}
    return {"type": "object", "additionalProperties": False, "properties": {"slots": slots}}


def _takes(schema: str, *kinds: str) -> dict[str, Any]:
    content = {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    fields = {"message": text, "type": text, "param": {"type": ["string", "null"]}, "code": text}
    return {"type": "object", "required": ["error"], "properties": {"error": {"type": "object", "properties": fields}}}
