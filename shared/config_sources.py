"""Where a router's configuration comes from: flags, environment variables, a TOML file, defaults; in that order.

One function, `gather`, puts them together. Each value is remembered with the place it came from, so that
a wrong one is named by what its author has to change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from shared.as_written import as_written
from shared.config import ConfigError, StartConfig, flag_of
from shared.config_faults import ADDRESSES, URL_LISTS, faults
from shared.config_fields import BOOLEANS, FIELDS, FLAGS, LISTS, TABLES, Given, Place, Problem
from shared.config_file import ConfigFile, Content, read_config
from shared.config_lines import line_of_text
from shared.config_mvllm import variables
from shared.config_warnings import without_effect
from shared.fault import Fault
from shared.kubernetes_config import SELECTORS

ENVIRONMENT_PREFIX = "ROUTERCTL_"
_DEFAULT = Place("default")
_TABLES_MEANT = {"policy": "; a table of policies by model is [policies]"}
_LISTS_MEANT = {"model_max_concurrent_requests": '["MODEL=N"]', **dict.fromkeys(SELECTORS, '["app=vllm"]')}
_FLAG = re.compile(r"--[a-z][a-z-]*[a-z]")
# Kubernetes gives every pod SERVICENAME_PORT=tcp://... for each service; ours is likely called routerctl.
_KUBERNETES_LINK = re.compile(r"(tcp|udp|sctp)://")


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What a router was started with, kept for its reloads. `file` is an absolute path, `text` what it held then."""

    flags: dict[str, str | list[str]]
    environment: dict[str, str]
    file: str | None = None
    text: str | None = None


class Gathered(NamedTuple):
    """A configuration put together from its sources.

    `places` has every field. With `problems`, which are in the order of the file's lines, `config` can not work;
    `warnings` say what has no effect. Both are lines for people.
    """

    config: StartConfig
    places: Mapping[str, Place]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    def checked(self) -> StartConfig:
        """Return the configuration. Raises ConfigError with a line for each problem."""
        if self.problems:
            raise ConfigError("\n".join(problem.text for problem in self.problems))
        return self.config


def resolve(
    flags: Mapping[str, str | Sequence[str]], environment: Mapping[str, str], file: ConfigFile | None = None
) -> StartConfig:
    """Return the configuration, checked. `flags` holds the texts given, by field.

    Raises ConfigError with a line for each wrong value.
    """
    return gather(flags, environment, file).checked()


def gather(
    flags: Mapping[str, str | Sequence[str]],
    environment: Mapping[str, str],
    file: ConfigFile | None = None,
    *,
    only: frozenset[str] = frozenset(FIELDS),
) -> Gathered:
    """Put a configuration together and find everything that is wrong with it. `flags` is as in `resolve`.

    Of the environment and of what is wrong, `only` these fields count.
    """
    content = read_config(file) if file is not None else Content({})
    given = dict(content.given)
    told = {**(variables(environment) if content.is_mvllms else {}), **_from_environment(environment)}
    given.update({field: one for field, one in told.items() if field in only})
    given.update({field: Given(value, Place("flag", flag_of(field))) for field, value in flags.items()})
    values: dict[str, Any] = {}
    problems = list(content.problems)
    for field, one in given.items():
        try:
            values[field] = _converted(field, one)
        except ConfigError as error:
            problems.append(Problem(str(error), one.place.line))
    for field in ADDRESSES:
        if values.get(field) == "localhost":
            values[field] = "127.0.0.1"
    config = StartConfig(**values)
    unread = given.keys() - values.keys()
    # The default that stands in for a value that could not be read is nobody's mistake.
    counted = only - unread
    found = (fault for fault in faults(config) if counted.issuperset(fault.fields))
    problems += [_placed(fault, given, file) for fault in found]
    if config.watch_config and file is None:
        where = given["watch_config"].place
        problems.append(Problem(f"{where} is given, but no file to watch; name one with --config, or leave it out"))
    places = {field: given[field].place if field in given else _DEFAULT for field in FIELDS}
    problems.sort(key=lambda problem: problem.line)
    idle = [_placed(fault, given, file).text for fault in without_effect(config) if counted.issuperset(fault.fields)]
    return Gathered(config, places, tuple(problems), (*content.warnings, *idle))


def relevant(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `gather` may look at."""
    told = (*_from_environment(environment).values(), *variables(environment).values())
    return {given.place.name: environment[given.place.name] for given in told}


def _placed(fault: Fault, given: Mapping[str, Given], file: ConfigFile | None) -> Problem:
    """Name the values of a fault by where they were given instead of by their flags."""
    places = {flag_of(field): one.place for field, one in given.items()}
    for flag in map(flag_of, fault.fields):
        place = places.get(flag)
        if place is not None and place.source == "file" and fault.value is not None and file is not None:
            places[flag] = place._replace(line=line_of_text(file.text, fault.value, place.line))
    lines = [places[flag].line for flag in map(flag_of, fault.fields) if flag in places]
    text = _FLAG.sub(lambda flag: str(places.get(flag[0], flag[0])), fault.text)
    return Problem(text, max(lines, default=0))


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    given = {}
    for field in FLAGS:
        name = ENVIRONMENT_PREFIX + field.upper()
        value = environment.get(name, "")
        # Compose files and charts write an empty text for "not set".
        if value and not _KUBERNETES_LINK.match(value):
            given[field] = Given(value, Place("environment", name))
    return given


def _converted(field: str, given: Given) -> Any:
    """Turn a text, or a value that TOML has typed, into the field's type."""
    if field in LISTS:
        return _as_list(field, given)
    kind = FIELDS[field].type
    if isinstance(given.value, dict) and field not in TABLES:
        raise ConfigError(f"{given.place} is a table; write one value{_example(field)}{_TABLES_MEANT.get(field, '')}")
    is_text = isinstance(given.value, str)
    # A quoted number in a TOML file is a mistake that its author wants to know of.
    from_file = given.place.source == "file"
    try:
        if kind in (int, float, bool):
            return msgspec.convert(given.value, kind, strict=from_file or not is_text)
        return msgspec.convert(given.value, kind)
    except msgspec.ValidationError:
        expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text")
        if is_text and from_file:
            expected += " without quotes"
        example = _example(field)
        raise ConfigError(f"{given.place} is {as_written(given.value)}; write {expected}{example}") from None


def _example(field: str) -> str:
    default = FIELDS[field].default
    return f", such as {default}" if isinstance(default, int | float | str) and field not in BOOLEANS else ""


def _as_list(field: str, given: Given) -> tuple[str, ...]:
    texts = [given.value] if isinstance(given.value, str) else given.value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        example = '["http://host:8000"]' if field in URL_LISTS else _LISTS_MEANT.get(field, '["x-request-id"]')
        # What was given is not repeated: a URL in it may have a password.
        raise ConfigError(f"{given.place} is no list of texts; write one, such as {example}")
    parts = [part for text in texts for part in re.split(r"[\s,]+", text) if part]
    # vllm-router's `--prefill URL none`: no bootstrap port.
    return tuple(part for part in parts if field != "prefill" or part.lower() != "none")
