"""The file of clients' keys (`--client-keys-file`): TOML with one table a key, as `routerctl keys client` writes it.

    [[keys]]
    name = "alice"
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    created = 2026-11-21T12:00:00Z
    expires = 2027-11-21T12:00:00Z
    models = ["llama-3", "qwen-*"]
    tenant = "research"
    class = "batch"
    max_concurrent_requests = 8
    requests_per_minute = 600
    tokens_per_minute = 100000
    weight = 2
    may_choose_class = true

Only the first two must be there. Two tables may have one name: an old key and the new one, while clients change over.
A list without keys is written as `keys = []`, so that it differs from a file that was cut short.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from shared.client_key_types import called, wrong_types
from shared.client_keys import MAX_KEYS, MAX_LIMITED, MAX_NAME, MAX_WEIGHT, ClientKey, is_model_pattern, is_name
from shared.config import ConfigError
from shared.config_lines import Path as Place
from shared.config_lines import key_lines
from shared.limits import BATCH, INTERACTIVE, MOST

MAX_BYTES = 4 * 1024 * 1024
MAX_OF_ONE_NAME = 2
MAX_MODELS = 100
"""Models that one key names."""
LIMITS = ("max_concurrent_requests", "requests_per_minute", "tokens_per_minute")
_DIGEST_DIGITS = 64
_HEAD = "# Clients' keys of routerctl: hashes, never keys. Written by `routerctl keys client`; comments are not kept.\n"

_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file. `sha256` is in hex digits."""

    name: str
    sha256: str
    created: _Time | None = None
    expires: _Time | None = None
    models: tuple[str, ...] | None = None
    tenant: str = ""
    service_class: str = msgspec.field(default="", name="class")
    max_concurrent_requests: int = 0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    weight: int = 1
    may_choose_class: bool = False

    @property
    def limits(self) -> dict[str, int]:
        """Its own limits by their names in the file; 0: none."""
        return {name: getattr(self, name) for name in LIMITS}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: tuple[KeyEntry, ...] = ()


def read_entries(where: str, path: Path, *, must_say_keys: bool = False) -> tuple[KeyEntry, ...]:
    """Return what the file holds. Raises ConfigError, which begins with `where` and the path, and tells no hash.

    With `must_say_keys` a file without a word of keys is refused: one that was cut short looks like that.
    """
    what = f"{where} {path}"
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "make one with `routerctl keys client create NAME --file FILE`"
        raise ConfigError(f"{what}: {error.strerror}; {hint}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{what}: it has more than {MAX_BYTES >> 20} MB; give the path of a file of clients' keys")
    try:
        # Editors on Windows write a byte order mark, and end lines in their own way.
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        read = tomllib.loads(text)
    except UnicodeDecodeError:
        raise ConfigError(f"{what}: it is not UTF-8 text; give the path of a file of clients' keys") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{what}: this is no TOML: {error}; docs/client-keys.md shows the form") from None
    for place, fault in wrong_types(read):
        raise ConfigError(f"{what}:{_line_of(place, text)}: {fault}")
    if must_say_keys and "keys" not in read:
        hint = "write `keys = []` into it if every client is to be refused"
        raise ConfigError(f"{what}: it holds no key, as a file that was cut short; put it back, or {hint}")
    keys = msgspec.convert(read, type=_File).keys
    for number, entry in enumerate(keys):
        for field, fault in entry_faults(entry):
            line = _line_of(("keys", str(number), field), text)
            raise ConfigError(f"{what}:{line}: {called(number, entry.name)} {fault}")
    if together := list_fault(keys):
        raise ConfigError(f"{what}: {together}")
    return keys


def _line_of(place: Place, text: str) -> int:
    """Return the line where something stands, or what holds it: tables within a line are not looked into."""
    # Only where something is wrong: it takes a while of a long file.
    lines = key_lines(text)
    return next((lines[place[:length]] for length in range(len(place), 0, -1) if place[:length] in lines), 1)


def entry_faults(entry: KeyEntry) -> Iterator[tuple[str, str]]:
    """Yield the field and the fault of everything that is wrong with one key; a fault goes on from the key's name."""
    if not is_name(entry.name):
        yield "name", f"has name {entry.name[:MAX_NAME]!r}; write 1 to 63 letters, digits, dots, @, - or _"
    if len(entry.sha256) != _DIGEST_DIGITS or set(entry.sha256.lower()) - set("0123456789abcdef"):
        yield "sha256", "has no SHA-256 in its sha256; write 64 hex digits (printf %s KEY | sha256sum)"
    if entry.tenant and not is_name(entry.tenant):
        yield "tenant", f"has tenant {entry.tenant[:MAX_NAME]!r}; write 1 to 63 letters, digits, dots, @, - or _"
    if entry.service_class not in ("", INTERACTIVE, BATCH):
        yield (
            "class",
            f"has class {entry.service_class[:MAX_NAME]!r}; write {INTERACTIVE} or {BATCH}, or leave class out",
        )
    if entry.models is not None and not 0 < len(entry.models) <= MAX_MODELS:
        yield "models", f"has {len(entry.models)} models; write 1 to {MAX_MODELS}, or leave models out for all"
    for model in entry.models or ():
        if not is_model_pattern(model):
            yield (
                "models",
                f"has model {model[:MAX_NAME]!r}; write a model's name, or the beginning of some with a * behind",
            )
    for field, amount in entry.limits.items():
        if not 0 <= amount <= MOST:
            yield field, f"has {field} {amount}; write a number up to {MOST}, or 0 for no limit"
    if not 1 <= entry.weight <= MAX_WEIGHT:
        yield "weight", f"has weight {entry.weight}; write 1 to {MAX_WEIGHT}"


def list_fault(entries: tuple[KeyEntry, ...]) -> str | None:
    """Return what is wrong with the keys together."""
    if len(entries) > MAX_KEYS:
        return f"it has {len(entries)} keys; a router takes {MAX_KEYS}"
    name, count = (Counter(entry.name for entry in entries).most_common(1) or [("", 0)])[0]
    if count > MAX_OF_ONE_NAME:
        return f"{count} keys are called {name}; {MAX_OF_ONE_NAME} may be, an old one and a new one"
    digests = Counter(entry.sha256.lower() for entry in entries)
    for entry in entries:
        if digests[entry.sha256.lower()] > 1:
            return f"the key called {entry.name} is there twice; take one of the two out"
    limits: dict[str, dict[str, int]] = {}
    for entry in entries:
        if limits.setdefault(entry.name, entry.limits) != entry.limits:
            return f"the keys called {entry.name} have different limits; they share one set, so give both the same"
    if (limited := sum(any(own.values()) for own in limits.values())) > MAX_LIMITED:
        return f"{limited} keys have limits of their own; {MAX_LIMITED} may have"
    return None


def as_keys(entries: Iterable[KeyEntry]) -> tuple[ClientKey, ...]:
    """Return them as they travel in the table."""
    return tuple(
        ClientKey(
            name=entry.name,
            digest=bytes.fromhex(entry.sha256),
            models=entry.models,
            expires=None if entry.expires is None else entry.expires.timestamp(),
            tenant=entry.tenant,
            service_class=entry.service_class,
            weight=entry.weight,
            may_choose_class=entry.may_choose_class,
            **entry.limits,
        )
        for entry in entries
    )


def read_client_keys(where: str, path: Path, *, must_say_keys: bool = False) -> tuple[ClientKey, ...]:
    """Return the keys in a file. Raises ConfigError; `must_say_keys` as in `read_entries`."""
    return as_keys(read_entries(where, path, must_say_keys=must_say_keys))


def file_text(entries: Iterable[KeyEntry]) -> str:
    """Return the text of a file that holds these."""
    return "\n".join([_HEAD, *([_table(entry) for entry in entries] or ["keys = []\n"])])


def _table(entry: KeyEntry) -> str:
    # JSON's texts and lists of texts are TOML's, too.
    lines = ["[[keys]]", f"name = {json.dumps(entry.name)}", f"sha256 = {json.dumps(entry.sha256)}"]
    lines += [
        f"{field} = {when.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"
        for field, when in (("created", entry.created), ("expires", entry.expires))
        if when is not None
    ]
    if entry.models is not None:
        lines.append(f"models = {json.dumps(entry.models, ensure_ascii=False)}")
    lines += [
        f"{field} = {json.dumps(text)}"
        for field, text in (("tenant", entry.tenant), ("class", entry.service_class))
        if text
    ]
    lines += [f"{field} = {amount}" for field, amount in entry.limits.items() if amount]
    if entry.weight != 1:
        lines.append(f"weight = {entry.weight}")
    if entry.may_choose_class:
        lines.append("may_choose_class = true")
    return "\n".join(lines) + "\n"
