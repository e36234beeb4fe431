"""A configuration file's text, turned into values with their places, and into what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shared.config import ConfigError
from shared.config_fields import FIELDS, Given, Place, Problem, nearest
from shared.config_lines import key_lines
from shared.config_models import read_models
from shared.config_mvllm import is_mvllm, read_mvllm
from shared.config_policies import read_policies
from shared.config_workers import read_tables, urls_of

MAX_BYTES = 4 * 1024 * 1024
"""Far above a list of thousands of workers; a wrong path must not fill the memory."""


class ConfigFile(NamedTuple):
    """A configuration file's name, as the user gave it, and its text."""

    name: str
    text: str


class Content(NamedTuple):
    """What a file gives, by field. `warnings` say what was passed over, one line each."""

    given: Mapping[str, Given]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    is_mvllms: bool = False


def load_config_file(path: str, where: str = "--config ") -> ConfigFile:
    """Read a file. Raises ConfigError, which begins with `where` and the path."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{where}{path}: it has more than {MAX_BYTES >> 20} MB; give the path of a TOML file")
        return ConfigFile(path, content.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{where}{path}: {cause}; give the path of a readable TOML file") from None


def read_config(file: ConfigFile) -> Content:
    """Return the values of a file in routerctl's own form or mvllm's, and everything wrong with its keys."""
    # Editors on Windows write a byte order mark, and end lines in their own way.
    text = file.text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return Content({}, (_no_toml(file, error),))
    lines = key_lines(text)
    if is_mvllm(content):
        return Content(*read_mvllm(file.name, text, content, lines), is_mvllms=True)
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for key, value in content.items():
        line = lines[(key,)]
        if key == "workers":
            tables = read_tables(file.name, text, value, lines)
            problems += tables.problems
            given[key] = Given(tables.workers, Place("file", file.name, line, key))
        elif key == "policies":
            policies = read_policies(file.name, value, lines)
            problems += policies.problems
            given[key] = Given(policies.by_model, Place("file", file.name, line, key))
        elif key == "models":
            models = read_models(file.name, value, lines)
            problems += models.problems
            given[key] = Given(models.rules, Place("file", file.name, line, key))
        elif key in FIELDS:
            given[key] = Given(value, Place("file", file.name, line, key))
        else:
            problems.append(Problem(_unknown(f"{file.name}:{line}", key, value), line))
    if "workers" in given:
        urls = given.get("worker_urls", Given([], given["workers"].place._replace(key="workers (worker_urls)")))
        given["worker_urls"] = urls._replace(value=urls_of(urls.value, given["workers"].value))
    return Content(given, tuple(problems))


def _no_toml(file: ConfigFile, error: Exception) -> Problem:
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error))
    what, line = found.groups() if found else (str(error), None)
    at_line = f":{line}" if line else ""
    text = f"{file.name}{at_line}: this is no TOML: {what}; write lines such as port = 30000"
    return Problem(text, int(line or 0))


def _unknown(where: str, key: str, value: Any) -> str:
    if isinstance(value, dict) and not nearest(key, FIELDS):
        return f"{where}: unknown table {key!r}; write all keys without one, such as port = 30000"
    near = nearest(key.replace("-", "_"), FIELDS)
    hint = f"did you mean {near}?" if near else "`routerctl start --help` lists the flags; write _ for -"
    return f"{where}: unknown key {key!r}; {hint}"
