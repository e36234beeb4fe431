"""What a worker's URL may look like, and when two mean the same server."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from shared.config import ConfigError

_HOST_AND_PORT = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")
MAX_WORKER_URL = 1024
"""Characters."""


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a checked URL: equal for URLs that mean the same server."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def check_worker_url(where: str, url: str) -> None:
    """Raise ConfigError unless `url` is `http(s)://host[:port]` with nothing behind it."""
    example = "write it as http://host:port"
    shown = _without_password(url)
    if not url.isprintable() or " " in url or len(url) > MAX_WORKER_URL:
        # It becomes part of fields, log lines and labels.
        raise ConfigError(f"{where} has {shown[:100]!r}: blanks, control characters or too many; {example}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        cause = "it can not be read" if "@" in url else str(error)
        raise ConfigError(f"{where} has {shown!r}: {cause}; {example}") from None
    if parts.scheme not in ("http", "https"):
        # `host:8000` reads as scheme `host`.
        is_missing = "://" not in url
        found = "the scheme is missing" if is_missing else f"scheme {parts.scheme!r} is not http or https"
        if is_missing and _HOST_AND_PORT.fullmatch(url):
            example = f"write it as http://{url}"
        raise ConfigError(f"{where} has {shown!r}: {found}; {example}")
    if not parts.hostname:
        raise ConfigError(f"{where} has {shown!r}: the host is missing; {example}")
    if port == 0:
        raise ConfigError(f"{where} has {shown!r}: port 0 can not be reached; {example}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{where} has a URL with user or password before {parts.hostname!r}; {example}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(
            f"{where} has {shown!r}: a worker is a server, not a path; write {parts.scheme}://{parts.netloc}"
        )


def _without_password(url: str) -> str:
    """Return a URL as it may be shown: whatever stands before its host's @ is left out."""
    before, at, host = url.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme if slashes else ''}{slashes}***@{host}" if at else url
