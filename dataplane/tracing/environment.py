"""What OpenTelemetry's variables say of how traces are sent: pure, of a given environment.

opentelemetry-api reads such headers as well, but writes into the log what it can not read, keys included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110's token."""
_VALUE = re.compile(r"[ -~]*")
_RAW_VALUE = re.compile(r'[^",\\]*')
"""OpenTelemetry's specification has these percent-encoded."""
_MOST_WARNINGS = 8


class Sending(NamedTuple):
    """Headers (names in lower case) and whether messages are compressed; `warnings` tell of what has no effect."""

    headers: dict[str, str]
    is_compressed: bool
    warnings: tuple[str, ...]


def sending(environ: Mapping[str, str]) -> Sending:
    """Read the variables; no value of a header gets into a warning."""
    name, text = variable(environ, "HEADERS")
    headers: dict[str, str] = {}
    warnings = []
    for number, entry in enumerate(text.split(","), start=1):
        if not entry.strip():
            continue
        key, equals, value = entry.partition("=")
        key, decoded = unquote(key).strip().lower(), unquote(value).strip()
        if equals and _NAME.fullmatch(key) and _RAW_VALUE.fullmatch(value) and _VALUE.fullmatch(decoded):
            headers[key] = decoded
        else:
            warnings.append(
                f"{name}: entry {number} is no NAME=VALUE and is left out; separate entries by commas, and write other "
                "than plain characters percent-encoded"
            )
    name, text = variable(environ, "COMPRESSION")
    compression = text.strip().lower()
    if compression not in ("", "gzip", "none"):
        warnings.append(f"{name} can be gzip or none, not {text[:40]!r}: traces are sent uncompressed")
    return Sending(headers, compression == "gzip", tuple(warnings[:_MOST_WARNINGS]))


def variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the variable for traces, or else that for all that is sent: its full name, and what it says."""
    specific, general = f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"
    return (specific, environ[specific]) if environ.get(specific) else (general, environ.get(general, ""))
