"""mvllm's `servers.toml`, read as it is: what each of its keys means here, and which mean nothing.

mvllm passes over keys that it does not know, so they are named in a warning here. One that is nearly a known key is
refused: its author wants what that means. A key that is left out has routerctl's own default: mvllm's 30 s for a whole
request would cut long answers off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from shared.as_written import as_written
from shared.config_fields import FIELDS, Given, Place, Problem, nearest
from shared.config_lines import Path, line_of_text
from shared.worker_attributes import CAPACITIES, ConfiguredWorker

POLICY = "least_load"
LOAD_FORMULA = "mvllm"
"""mvllm sends each request to the server with the least load for its capacity."""
CAPACITY = 3
"""What mvllm takes a server's `max_concurrent_requests` to be that does not say."""

_GREATEST = 1e300
"""TOML's numbers may have more digits than a float can take."""


class Counterpart(NamedTuple):
    """The field for a key of mvllm's, and what a value becomes there.

    `bounds` are the least and the greatest value in mvllm's own unit, whole numbers for whole ones: the field's
    bounds would be told of a value that is not in the file.
    """

    field: str
    convert: Callable[[Any], Any] = lambda value: value
    bounds: tuple[float, float] | None = None

    def fault(self, value: Any) -> str | None:
        """Return what to write instead of a value; None when it can be converted."""
        if type(value) not in (int, float):
            return "a number without quotes" if isinstance(value, str) else "a number"
        if not abs(value) <= _GREATEST:
            return "a number"
        if self.bounds is None:
            return None
        low, high = self.bounds
        whole = isinstance(low, int)
        if low <= value <= high and (isinstance(value, int) or not whole):
            return None
        return f"a {'whole ' * whole}number from {low} to {high}"


COUNTERPARTS = {
    "health_check_interval": Counterpart("health_check_interval_secs"),
    "health_check_timeout": Counterpart("health_check_timeout_secs"),
    "health_check_min_success_rate": Counterpart("health_min_success_rate", float),
    "health_check_max_response_time": Counterpart("health_max_response_time_secs", float),
    "health_check_window_size": Counterpart("health_window_size"),
    "health_check_consecutive_failures": Counterpart("health_failure_threshold"),
    "request_timeout": Counterpart("request_timeout_secs"),
    # mvllm counts the attempts after the first one, vllm-router and we count all of them.
    "max_retries": Counterpart("retry_max_retries", lambda value: value + 1, (0, 99)),
    "retry_delay": Counterpart("retry_initial_backoff_ms", lambda value: round(value * 1000), (0.0, 60.0)),
    # The file is looked at each second, whatever the interval.
    "config_reload_interval": Counterpart("watch_config", lambda value: value > 0),
}
_VARIABLES = {
    "HOST": Counterpart("host"),
    "PORT": Counterpart("port"),
    "LOG_LEVEL": Counterpart("log_level", str.lower),
    "HEALTH_CHECK_INTERVAL": Counterpart("health_check_interval_secs"),
    "REQUEST_TIMEOUT": Counterpart("request_timeout_secs"),
    "CONFIG_RELOAD_INTERVAL": Counterpart("watch_config", lambda text: "false" if text.strip() == "0" else "true"),
}
"""mvllm's environment variables. They have names that others use too, so they count with its file only."""
_WITHOUT = {
    "failure_threshold": "a worker that a request could not reach is avoided and looked at at once",
    "auto_recovery_threshold": "a worker is back after its second good check",
}
_SERVER_KEYS = ("url", "max_concurrent_requests")


class MvllmContent(NamedTuple):
    """As `shared.config_file.Content`."""

    given: Mapping[str, Given]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


def is_mvllm(content: Mapping[str, Any]) -> bool:
    """Whether this is a `servers.toml`: its servers stand in a table of that name.

    A table of nearly that name is that too, but for a file that has keys of routerctl's own.
    """
    if isinstance(content.get("servers"), dict):
        return True
    return any(map(_is_servers, content.items())) and FIELDS.keys().isdisjoint(content)


def _is_servers(item: tuple[str, Any]) -> bool:
    key, value = item
    return isinstance(value, dict) and key not in FIELDS and nearest(key, ("servers",)) is not None


def read_mvllm(name: str, text: str, content: Mapping[str, Any], lines: Mapping[Path, int]) -> MvllmContent:
    """Return the values of a `servers.toml`. `name` is the file's, `lines` tells where its keys stand."""
    reader = _Reader(name, text, lines)
    for key, value in content.items():
        if _is_servers((key, value)) and (key == "servers" or "servers" not in content):
            reader.servers(key, value)
        elif key == "config" and isinstance(value, dict):
            reader.config(value)
        else:
            reader.refuse(reader.line((key,)), _not_mvllms(key))
    return MvllmContent(reader.given, tuple(reader.problems), tuple(reader.warnings))


def variables(environment: Mapping[str, str]) -> dict[str, Given]:
    """Return what mvllm's environment variables give, by field; an empty one is not set."""
    return {
        counterpart.field: Given(counterpart.convert(environment[name]), Place("environment", name))
        for name, counterpart in _VARIABLES.items()
        if environment.get(name)
    }


class _Reader:
    def __init__(self, name: str, text: str, lines: Mapping[Path, int]) -> None:
        self._name = name
        self._text = text
        self._lines = lines
        self.given: dict[str, Given] = {}
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def line(self, path: Path) -> int:
        return self._lines.get(path, 1)

    def refuse(self, line: int, what: str) -> None:
        self.problems.append(Problem(f"{self._name}:{line}: {what}", line))

    def _warn(self, line: int, what: str) -> None:
        self.warnings.append(f"{self._name}:{line}: {what}")

    def _give(self, field: str, value: Any, line: int, key: str) -> None:
        self.given[field] = Given(value, Place("file", self._name, line, key))

    def servers(self, name: str, table: Mapping[str, Any]) -> None:
        line = self.line((name, "servers")) if "servers" in table else self.line((name,))
        if name != "servers":
            self.refuse(self.line((name,)), f"unknown table [{name}]; did you mean [servers]?")
        self._give("policy", POLICY, line, "[servers] (policy)")
        self._give("load_formula", LOAD_FORMULA, line, "[servers] (load_formula)")
        self._give("mvllm_compat", True, line, "[servers] (mvllm_compat)")
        for key in table:
            if key != "servers":
                self._unknown(self.line((name, key)), key, ("servers",))
        servers = table.get("servers", [])
        if not isinstance(servers, list) or not all(isinstance(server, dict) for server in servers):
            self.refuse(line, 'servers.servers is no list of tables; write servers = [{ url = "http://host:8000" }]')
            return
        urls: list[str] = []
        workers: list[ConfiguredWorker] = []
        for number, server in enumerate(servers, 1):
            url = server.get("url")
            if not isinstance(url, str):
                self.refuse(line, f'server {number} has no url; write {{ url = "http://host:8000" }}')
                continue
            urls.append(url)
            capacity = server.get("max_concurrent_requests", CAPACITY)
            at = line_of_text(self._text, url, line)
            if type(capacity) is not int or not 1 <= capacity <= CAPACITIES[1]:
                self.refuse(at, f"max_concurrent_requests is {as_written(capacity)}; write a whole number from 1")
            else:
                workers.append(ConfiguredWorker(url=url, capacity=capacity))
            for key in server:
                if key not in _SERVER_KEYS:
                    self._unknown(at, key, _SERVER_KEYS, " of a server")
        self._give("worker_urls", urls, line, "servers (worker_urls)")
        if workers:
            self._give("workers", tuple(workers), line, "servers (workers)")

    def config(self, table: Mapping[str, Any]) -> None:
        for key, value in table.items():
            line = self.line(("config", key))
            if (counterpart := COUNTERPARTS.get(key)) is not None:
                if (instead := counterpart.fault(value)) is not None:
                    self.refuse(line, f"{key} is {as_written(value)}; write {instead}")
                else:
                    shown = f"{key} ({counterpart.field})"
                    self._give(counterpart.field, counterpart.convert(value), line, shown)
            elif key == "enable_active_health_check":
                if type(value) is bool:
                    self._give("disable_health_check", not value, line, f"{key} (disable_health_check)")
                else:
                    self.refuse(line, f"{key} is {as_written(value)}; write true or false")
            elif key in _WITHOUT:
                self._warn(line, f"{key} has no effect: {_WITHOUT[key]}")
            else:
                self._unknown(line, key, (*COUNTERPARTS, *_WITHOUT, "enable_active_health_check"))

    def _unknown(self, line: int, key: str, known: tuple[str, ...], of: str = "") -> None:
        if key in FIELDS:
            self.refuse(line, _not_mvllms(key))
        elif near := nearest(key, known):
            self.refuse(line, f"unknown key {key!r}{of}; did you mean {near}?")
        else:
            self._warn(line, f"unknown key {key!r}{of} has no effect")


def _not_mvllms(key: str) -> str:
    return f"{key!r} is no key of mvllm's servers.toml; give routerctl's own as flags, or all in its own form"
