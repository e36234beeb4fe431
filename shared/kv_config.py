"""The texts in which an operator tells where workers publish their KV events, and which tokenizer a model has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from shared.config import ConfigError, StartConfig
from shared.worker_url import check_worker_url, origin

ENDPOINT = r"(tcp://[^\s/=,]+:[0-9]{1,5}|ipc://[^\s=,]+)"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_PACKAGES = ("tokenizers", "jinja2")


def by_url(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read `URL=ENDPOINT` texts, each of which may be followed by further endpoints of the same worker, by rank.

    Raises ConfigError, without the flag's name.
    """
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for text in texts:
        url, separator, endpoint = text.partition("=")
        if separator:
            check_worker_url("the worker's URL", url)
            if any(origin(url) == origin(other) for other in found):
                raise ConfigError(f"names worker {url} twice; write its endpoints in one, as URL=ENDPOINT,ENDPOINT")
            current = found[url] = []
        else:
            endpoint = text
        if current is None or not re.fullmatch(ENDPOINT, endpoint):
            raise ConfigError(
                f"has {text!r}; write URL=ENDPOINT[,ENDPOINT...], such as http://host:8000=tcp://host:5557"
            )
        current.append(endpoint)
    return {url: tuple(endpoints) for url, endpoints in found.items()}


def tokenizer_folders(texts: Sequence[str]) -> dict[str | None, str]:
    """Read `[MODEL=]FOLDER` texts; None is every model that has none of its own. Raises ConfigError."""
    found: dict[str | None, str] = {}
    for text in texts:
        model, separator, folder = text.rpartition("=")
        key = model if separator else None
        if not folder or (separator and not model):
            raise ConfigError(f"has {text!r}; write [MODEL=]FOLDER")
        if key in found:
            raise ConfigError(f"has two folders for {key or 'every model'}; write one, or MODEL=FOLDER for each model")
        found[key] = folder
    return found


def kv_problems(config: StartConfig) -> Iterator[tuple[str, str, str | None]]:
    """Yield what can not work: the field, the text without its flag, and the wrong part of a list if it is one."""
    sources: dict[str, tuple[str, ...]] = {}
    for field in ("kv_event_source", "kv_event_replay_source"):
        try:
            found = by_url(getattr(config, field))
        except ConfigError as error:
            yield field, str(error), None
            return
        if field == "kv_event_source":
            sources = found
            continue
        endpoints = {origin(url): found_there for url, found_there in sources.items()}
        for url, replays in found.items():
            if len(replays) > len(endpoints.get(origin(url), ())):
                yield field, f"has more endpoints for {url} than --kv-event-source has; each replays one of those", url
    if config.kv_event_model == "":
        yield "kv_event_model", "is empty; write a model's name, or leave it out", None
    try:
        folders = tokenizer_folders(config.tokenizer)
    except ConfigError as error:
        yield "tokenizer", str(error), None
        return
    if folders and not all(map(find_spec, TOKENIZER_PACKAGES)):
        yield "tokenizer", f"needs the packages {' and '.join(TOKENIZER_PACKAGES)}; pip install routerctl[kv]", None
    for folder in folders.values():
        if not (Path(folder) / TOKENIZER_FILE).is_file():
            text = f"is {folder}, which has no {TOKENIZER_FILE}; give the folder of a model's files"
            yield "tokenizer", text, folder
