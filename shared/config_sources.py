"""Where a router's configuration comes from: flags, environment variables, a TOML file, defaults; in that order.

One function, `resolve`, puts them together. Each value is remembered with the place it came from, so that
a wrong one is named by what its author has to change.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from shared.config import ConfigError, StartConfig, check

ENVIRONMENT_PREFIX = "ROUTERCTL_"
FIELDS = {field.name: field for field in msgspec.structs.fields(StartConfig)}
LISTS = frozenset(name for name, field in FIELDS.items() if field.type == tuple[str, ...])
BOOLEANS = frozenset(name for name, field in FIELDS.items() if field.type is bool)
_ADDRESSES = ("host", "admin_host", "prometheus_host")
_FLAG = re.compile(r"--[a-z][a-z-]*[a-z]")
# Kubernetes gives every pod SERVICENAME_PORT=tcp://... for each service; ours is likely called routerctl.
_KUBERNETES_LINK = re.compile(r"(tcp|udp|sctp)://")


class ConfigFile(NamedTuple):
    """A configuration file's name, as the user gave it, and its text."""

    name: str
    text: str


class _Given(NamedTuple):
    value: Any
    where: str


def flag_of(field: str) -> str:
    """Return the flag of a field of StartConfig."""
    return "--" + field.replace("_", "-")


def resolve(
    flags: Mapping[str, str | Sequence[str]], environment: Mapping[str, str], file: ConfigFile | None = None
) -> StartConfig:
    """Return the configuration, checked. `flags` holds the texts given, by field.

    Raises ConfigError for the first wrong value.
    """
    given: dict[str, _Given] = {}
    if file is not None:
        given.update(_from_file(file))
    given.update(_from_environment(environment))
    given.update({field: _Given(value, flag_of(field)) for field, value in flags.items()})
    values = {field: _converted(field, value) for field, value in given.items()}
    for field in _ADDRESSES:
        if values.get(field) == "localhost":
            values[field] = "127.0.0.1"
    config = StartConfig(**values)
    try:
        check(config)
    except ConfigError as error:
        where = {flag_of(field): value.where for field, value in given.items()}
        raise ConfigError(_FLAG.sub(lambda flag: where.get(flag[0], flag[0]), str(error))) from None
    return config


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant; None when none is near."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def _from_environment(environment: Mapping[str, str]) -> dict[str, _Given]:
    given = {}
    for field in FIELDS:
        name = ENVIRONMENT_PREFIX + field.upper()
        value = environment.get(name, "")
        # Compose files and charts write an empty text for "not set".
        if value and not _KUBERNETES_LINK.match(value):
            given[field] = _Given(value, name)
    return given


def _from_file(file: ConfigFile) -> dict[str, _Given]:
    try:
        content = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        what, line = found.groups() if found else (str(error), None)
        at_line = f":{line}" if line else ""
        raise ConfigError(f"{file.name}{at_line}: this is no TOML: {what}; write lines such as port = 30000") from None
    given = {}
    for key, value in content.items():
        where = f"{file.name}:{_line_of(key, file.text)}"
        if key == "servers" and "servers" in value:
            raise ConfigError(
                f"{where}: mvllm's servers.toml is not read by this version; list its URLs in worker_urls"
            )
        if key not in FIELDS:
            near = nearest(key.replace("-", "_"), FIELDS)
            hint = f"did you mean {near}?" if near else "`routerctl start --help` lists the flags; write _ for -"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
        given[key] = _Given(value, f"{where}: {key}")
    return given


def _line_of(key: str, text: str) -> int:
    """Return the line that first sets `key`. tomllib does not tell, so this looks for what it must look like."""
    pattern = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), 1)


def _converted(field: str, given: _Given) -> Any:
    """Turn a text, or a value that TOML has typed, into the field's type."""
    if field in LISTS:
        return _as_list(field, given)
    kind = FIELDS[field].type
    is_text = isinstance(given.value, str)
    # A quoted number in a TOML file is a mistake that its author wants to know of.
    from_file = not given.where.startswith(("--", ENVIRONMENT_PREFIX))
    try:
        if kind in (int, float, bool):
            return msgspec.convert(given.value, kind, strict=from_file or not is_text)
        return msgspec.convert(given.value, kind)
    except msgspec.ValidationError:
        expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text")
        if is_text and from_file:
            expected += " without quotes"
        example = _example(field)
        raise ConfigError(f"{given.where} is {given.value!r}; write {expected}{example}") from None


def _example(field: str) -> str:
    default = FIELDS[field].default
    return f", such as {default}" if isinstance(default, int | float | str) and field not in BOOLEANS else ""


def _as_list(field: str, given: _Given) -> tuple[str, ...]:
    texts = [given.value] if isinstance(given.value, str) else given.value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        example = '["http://host:8000"]' if field == "worker_urls" else '["x-request-id"]'
        raise ConfigError(f"{given.where} is {given.value!r}; write a list of texts, such as {example}")
    return tuple(part for text in texts for part in re.split(r"[\s,]+", text) if part)
