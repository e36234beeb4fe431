"""Whose web page made a browser send a request."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def is_own_page(headers: Mapping[str, str], *, has_token: bool) -> bool:
    """Whether a request is from no web page, or from the one that this router serves.

    `Origin` is then the address that the request itself went to. Without a token that is not enough for a name: whoever
    owns it can have it lead from his page to us (DNS rebinding). An address, and localhost, nobody can.
    """
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != headers.get("host", "").lower():
        return False
    return has_token or host == "localhost" or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
