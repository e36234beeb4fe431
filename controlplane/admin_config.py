"""`/config` and `/reload` on the admin port: JSON in and out."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import json_answer, problem, read_body
from controlplane.configuration import Configuration
from controlplane.reload_rules import Mode, Reloaded
from shared.config import ConfigError
from shared.config_file import MAX_BYTES
from shared.decoding import DECODE_ERRORS

MAX_BODY = 2 * MAX_BYTES
"""Bytes: the largest file, written as a JSON text."""
MAX_NAME = 500
"""Characters; it becomes part of log lines."""


class Apply(msgspec.Struct, forbid_unknown_fields=True):
    """What the file is to hold. Problems are told under `name`; with `dry_run` nothing is changed."""

    text: str
    name: str = "the text"
    dry_run: bool = False
    allow_no_workers: bool = False


class Rollback(msgspec.Struct, forbid_unknown_fields=True):
    """Which configuration to go back to; without `number` the one before the present one."""

    number: int | None = None
    dry_run: bool = False
    allow_no_workers: bool = False


class Reload(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the list of workers may become empty."""

    allow_no_workers: bool = False


def config_routes(configuration: Configuration) -> list[Route]:
    """Return the routes."""

    async def show(_request: Request) -> Response:
        return json_answer(await configuration.view())

    async def history(_request: Request) -> Response:
        return json_answer(configuration.history())

    async def entry(request: Request) -> Response:
        try:
            return json_answer(configuration.entry(request.path_params["number"]))
        except ConfigError as error:
            return problem(404, "config_not_found", f"{error}.")

    async def reload(request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await read_body(request, MAX_BODY) or b"{}", type=Reload)
        except DECODE_ERRORS as error:
            return problem(400, "bad_body", f'The body is not {{"allow_no_workers": true}}: {error}.')
        return _told(await configuration.reload(mode=Mode(allow_no_workers=wanted.allow_no_workers)))

    async def apply(request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await read_body(request, MAX_BODY), type=Apply)
        except DECODE_ERRORS as error:
            return problem(400, "bad_body", f'The body is not {{"text": "..."}}: {error}.')
        if not wanted.name.isprintable() or len(wanted.name) > MAX_NAME:
            return problem(400, "bad_body", f"The name is no line of at most {MAX_NAME} characters.")
        if len(wanted.text.encode()) > MAX_BYTES:
            return problem(413, "payload_too_large", f"The text is larger than {MAX_BYTES} bytes.")
        return _told(await configuration.apply(wanted.text, wanted.name, _mode(wanted)))

    async def rollback(request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await read_body(request, MAX_BODY) or b"{}", type=Rollback)
        except DECODE_ERRORS as error:
            return problem(400, "bad_body", f'The body is not {{"number": 3}}: {error}.')
        return _told(await configuration.rollback(wanted.number, _mode(wanted)))

    return [
        Route("/config", show),
        Route("/config/history", history),
        Route("/config/history/{number:int}", entry),
        Route("/config/apply", apply, methods=["POST"]),
        Route("/config/rollback", rollback, methods=["POST"]),
        Route("/reload", reload, methods=["POST"]),
    ]


def _mode(wanted: Apply | Rollback) -> Mode:
    return Mode(wanted.dry_run, wanted.allow_no_workers)


def _told(result: Reloaded) -> Response:
    return json_answer(result, 409 if result.outcome == "refused" else 200)
