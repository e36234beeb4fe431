"""What a request must pass before anything is done for it, compiled once per settings: web pages, proxies, keys.

What is not configured is None here, and costs a request one look at that.
"""

from __future__ import annotations

from dataplane.client import Client
from dataplane.client_headers import TrustedProxies
from dataplane.client_keys import OPEN_PATHS, KeyRing
from dataplane.cors import allowed, compiled, is_preflight, may_read, preflight
from shared.client_keys import ClientKey
from shared.errors import origin_not_allowed
from shared.table import Settings


class Gate:
    """One plane's."""

    def __init__(self) -> None:
        """Let everybody in, until there are settings."""
        self._settings: Settings | None = None
        self._keys: tuple[ClientKey, ...] | None = None
        self._proxies: TrustedProxies | None = None
        self._ring: KeyRing | None = None
        self._origins: frozenset[bytes] = frozenset()
        self.is_guarded = False
        """Whether requests have to pass `let_in`; those of web pages have to in any case."""

    def use(self, settings: Settings) -> None:
        """Go by these settings from now on."""
        if settings is self._settings:
            return
        self._settings = settings
        keys = settings.client_keys
        if keys != self._keys:
            self._keys = keys
            self._ring = None if keys is None else KeyRing(keys)
        self._proxies = TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None
        self._origins = compiled(settings.cors_allowed_origins)
        self.is_guarded = self._ring is not None or self._proxies is not None

    def preflight(self, client: Client) -> list[tuple[bytes, bytes]] | None:
        """Look at a web page's request: return the fields of the answer to a preflight, None for any other one.

        Raises RouterError 403 for a WebSocket of a page that may not: browsers keep nothing from a page there.
        """
        if is_preflight(client.method, client.fields):
            return preflight(client.fields, self._origins)
        told = allowed(client.fields[b"origin"], self._origins)
        if client.is_socket and not may_read(told):
            raise origin_not_allowed()
        client.added = told
        return None

    def let_in(self, client: Client) -> None:
        """Note who a client is. Raises RouterError 401 for one that must not come in."""
        if self._proxies is not None and (address := client.scope.get("client")) is not None:
            client.forwarded = self._proxies.forwarded(address[0], client.headers)
        if self._ring is not None and client.path not in OPEN_PATHS:
            client.key = self._ring.holder(client.fields)
