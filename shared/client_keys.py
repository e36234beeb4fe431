"""The keys by which clients may use the router, as they travel in the table: never a key, only its SHA-256.

A cheap hash is the right one here. Slow, salted hashes (scrypt, Argon2) are there to make guessing dear, and nobody can
guess a key of 256 random bits, however fast he tries; what a slow one would cost is paid by every request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable

import msgspec

PREFIX = "sk-routerctl-"
"""So that a key in a log or a repository is known for one; OpenAI's begin with sk-, too."""
_RANDOM_BYTES = 32
MAX_KEYS = 5000
"""Keys of a router: half a megabyte in the table."""
MAX_LIMITED = 1024
"""Names of keys that may have limits: each limit is one of the whole router, lent to its planes."""
MAX_WEIGHT = 1000
MAX_NAME = 63
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.@-]{{0,{MAX_NAME - 1}}}")
# Nothing that a TOML file, or a line of a log, could not hold.
_MODEL = re.compile("[^\\s*\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,256}\\*?|\\*")


class ClientKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key. `digest` is the SHA-256 of the whole key; `expires` is in Unix seconds, None for never.

    `models` are those it may use, None for all; one that ends with `*` stands for all that begin so. `tenant` and
    `service_class` are what admission goes by. While a key is being replaced there are two of one `name`, which have
    one set of limits together: requests open at a time, and requests and tokens per minute (0: no limit). `weight` is
    what the key's tenant gets beside others'. `may_choose_class`: its requests may ask for a better class than its own.
    """

    name: str
    digest: bytes
    models: tuple[str, ...] | None = None
    expires: float | None = None
    tenant: str = ""
    service_class: str = ""
    max_concurrent_requests: int = 0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    weight: int = 1
    may_choose_class: bool = False

    @property
    def limits(self) -> tuple[int, int, int]:
        """Its own limits: requests at a time, requests and tokens per minute."""
        return self.max_concurrent_requests, self.requests_per_minute, self.tokens_per_minute


def new_key() -> str:
    """Return a new key: 256 random bits in URL-safe base64, behind the prefix."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def digest_of(key: bytes) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(key).digest()


def is_name(text: str) -> bool:
    """Whether a key, a tenant or a class may be called so: it stands in logs and in labels of metrics."""
    return _NAME.fullmatch(text) is not None


def is_model_pattern(text: str) -> bool:
    """Whether a text names a model, or several by a `*` at its end."""
    return _MODEL.fullmatch(text) is not None


def tenant_weights(keys: Iterable[ClientKey]) -> dict[str, int]:
    """Return the weights of the tenants that have another one than 1: of several keys' the largest."""
    found: dict[str, int] = {}
    for key in keys:
        if key.weight > 1:
            tenant = key.tenant or key.name
            found[tenant] = max(key.weight, found.get(tenant, 1))
    return found
