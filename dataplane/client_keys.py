"""Who may use the router: clients' keys, compiled for one lookup per request.

A key is found by the first half of its SHA-256, and the whole hash is compared in constant time. What a client could
learn from the time of the lookup is about the hash of what it has sent itself, which tells nothing of a key.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping

from shared.client_keys import ClientKey, digest_of
from shared.errors import expired_api_key, invalid_api_key, missing_api_key, model_not_allowed
from shared.limits import BATCH
from shared.routes import Route

OPEN_PATHS = frozenset({"/liveness", "/readiness", "/health"})
"""What load balancers ask, which have no key; it tells of no model."""
FIELDS = frozenset({b"authorization", b"x-api-key"})
"""Where a key can be; OpenAI's clients use the first, Anthropic's the second."""
_HALF = 16
_LONGEST = 4096
"""Bytes of what a client calls its key."""
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Holder:
    """Whose key it is, and what it may be used for."""

    __slots__ = (
        "digest",
        "expires",
        "may_choose_class",
        "models",
        "name",
        "prefixes",
        "rank",
        "service_class",
        "share",
        "tenant",
    )

    def __init__(self, key: ClientKey) -> None:
        self.name = key.name
        self.digest = key.digest
        self.expires = key.expires
        self.tenant = key.tenant
        self.service_class = key.service_class
        self.may_choose_class = key.may_choose_class
        self.rank = int(key.service_class == BATCH)
        # What is shared fairly by. A key without a tenant is one of its own.
        self.share = self.rank, key.tenant or key.name
        # None: all.
        self.models: frozenset[str] | None = None
        self.prefixes: tuple[str, ...] = ()
        if key.models is not None:
            self.models = frozenset(model for model in key.models if not model.endswith("*"))
            self.prefixes = tuple(model[:-1] for model in key.models if model.endswith("*"))

    def may_use(self, model: str) -> bool:
        """Whether the key is good for a model."""
        return self.models is None or model in self.models or (self.prefixes != () and model.startswith(self.prefixes))

    def admit(self, model: str | None, method: str, route: Route) -> None:
        """Raise RouterError 403 unless a request may have what it asks for.

        A key for some models is good for requests that name one of them, for those that only look, and for what is
        about one response, whose id only its maker knows: what any other request without one does to a worker is not
        known. One whose model stands in the query looks like looking.
        """
        if self.models is None:
            return
        looks = (method in _BODILESS and route.model != "query") or (route.finds and method in route.methods)
        if not (looks if model is None else self.may_use(model)):
            raise model_not_allowed(self.name, model)


class KeyRing:
    """All keys of one table."""

    def __init__(self, keys: Iterable[ClientKey], wall: Callable[[], float] = time.time) -> None:
        """Compile them; `wall` gives Unix time in seconds."""
        self._wall = wall
        self._holders = {key.digest[:_HALF]: Holder(key) for key in keys}

    def holder(self, fields: Mapping[bytes, bytes]) -> Holder:
        """Return who sends a request with these fields. Raises RouterError 401."""
        given = key_in(fields)
        if given is None:
            raise missing_api_key()
        digest = digest_of(given)
        holder = self._holders.get(digest[:_HALF])
        if holder is None or not hmac.compare_digest(holder.digest, digest):
            raise invalid_api_key()
        if holder.expires is not None and self._wall() >= holder.expires:
            raise expired_api_key(holder.name)
        return holder


def key_in(fields: Mapping[bytes, bytes]) -> bytes | None:
    """Return what a client sends as its key; None when it sends none. A bearer token counts before `x-api-key`."""
    authorization = fields.get(b"authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(b" ")
        key = key.strip()
        if key and scheme.lower() == b"bearer":
            return key[:_LONGEST]
    return (fields.get(b"x-api-key") or b"")[:_LONGEST] or None
