"""What is wrong with where traces are to go."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit

TRACES_PATH = "/v1/traces"
"""Where collectors take traces over HTTP, by the OTLP specification."""
_PACKAGES = ("opentelemetry.proto", "opentelemetry.sdk")


def endpoint_url(endpoint: str) -> str:
    """Return the URL to send traces to: one without a path gets `TRACES_PATH`."""
    return endpoint.rstrip("/") + TRACES_PATH if urlsplit(endpoint).path in ("", "/") else endpoint


def endpoint_fault(endpoint: str) -> str | None:
    """Return what can not work with `--otlp-traces-endpoint`, without the flag's name."""
    try:
        parts = urlsplit(endpoint)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        return f"is {endpoint!r}; write a URL, such as http://host:4318/v1/traces (OTLP over HTTP; gRPC is not spoken)"
    if parts.username is not None or parts.password is not None:
        return "holds a user or password; give them in the environment, as OTEL_EXPORTER_OTLP_HEADERS"
    if find_spec("opentelemetry") is None or any(
        find_spec(f"opentelemetry.{part}") is None for part in ("proto", "sdk")
    ):
        return "needs packages that are not installed; install them with `pip install 'routerctl[otel]'`"
    return None
