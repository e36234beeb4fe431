"""The `[[workers]]` tables of a configuration file: workers with what is to be said of them.

Their URLs are as good as those of `worker_urls` in the same file, and a worker may stand in both. Where a flag or a
variable gives `worker_urls`, that is the list, and the tables only say what its workers are like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from shared.config import ConfigError
from shared.config_fields import Problem, nearest
from shared.config_lines import Path, line_of_text
from shared.worker_attributes import ATTRIBUTES, ConfiguredWorker, wrong_attributes
from shared.worker_url import check_worker_url, origin

_KEYS = ("url", *ATTRIBUTES)
_EXAMPLE = '[[workers]] and below it url = "http://host:8000"'


class Tables(NamedTuple):
    """The workers of the tables that can be read, and what is wrong with the others."""

    workers: tuple[ConfiguredWorker, ...]
    problems: tuple[Problem, ...]


def read_tables(name: str, text: str, value: Any, lines: Mapping[Path, int]) -> Tables:
    """Return what the key `workers` of a file gives. `name` is the file's, `lines` tells where its keys stand."""
    first = lines[("workers",)]
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        return Tables((), (Problem(f"{name}:{first}: workers is no list of tables; write {_EXAMPLE}", first),))
    workers: list[ConfiguredWorker] = []
    named: set[object] = set()
    problems: list[Problem] = []
    for number, table in enumerate(value):
        url = table.get("url")
        # Of tables within a line only the URL can be found.
        path = ("workers", str(number))
        begun = lines.get(path, line_of_text(text, url, first) if isinstance(url, str) else first)
        faults = list(_faults(table, number + 1))
        found = [(lines.get((*path, key), begun), fault) for key, fault in faults]
        if all(key != "url" for key, _ in faults):
            server = origin(table["url"])
            if server in named:
                found.append((begun, f"worker {number + 1} is {url} again; write one table for each worker"))
            named.add(server)
        problems += [Problem(f"{name}:{line}: {fault}", line) for line, fault in found]
        if not found:
            workers.append(msgspec.convert(table, ConfiguredWorker))
    return Tables(tuple(workers), tuple(problems))


def urls_of(urls: Any, workers: Iterable[ConfiguredWorker]) -> Any:
    """Return `worker_urls` with those of the tables behind it; unchanged when it is no list of texts."""
    if isinstance(urls, str):
        urls = [urls]
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        return urls
    known = {_origin(url) for text in urls for url in text.replace(",", " ").split()}
    return [*urls, *(worker.url for worker in workers if _origin(worker.url) not in known)]


def _origin(url: str) -> object:
    """Return what tells servers apart; a text that is no URL is refused elsewhere."""
    try:
        return origin(url)
    except ValueError:
        return url


def _faults(table: Mapping[str, Any], number: int) -> Iterator[tuple[str, str]]:
    """Yield the key and the fault of everything in a table that can not work."""
    url = table.get("url")
    if isinstance(url, str):
        try:
            check_worker_url(f"url of worker {number}", url)
        except ConfigError as error:
            yield "url", str(error)
    else:
        yield "url", f"worker {number} has no url; write {_EXAMPLE}"
    for key in table:
        if key not in _KEYS:
            near = nearest(key, _KEYS)
            hint = f"did you mean {near}?" if near else f"a worker has {', '.join(_KEYS)}"
            yield key, f"unknown key {key!r} of a worker; {hint}"
    for key, fault in wrong_attributes(table):
        yield key, f"{key} of worker {number} {fault}"
