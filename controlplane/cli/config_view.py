"""What `routerctl config` prints, made from plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from controlplane.cli.option_texts import HELP
from shared.config import flag_of
from shared.config_diff import CONSEQUENCES, ConfigChange, change_text, value_text
from shared.config_fields import FIELDS
from shared.config_schema import schema
from shared.config_sources import Gathered
from shared.config_values import ShownValue


def values_lines(values: Sequence[ShownValue]) -> Iterator[str]:
    """Yield a line for each value. Without their comments, those of a set value are lines of the TOML file."""
    assignments = [_assignment(one) for one in values]
    width = min(60, max(map(len, assignments), default=0))
    for one, assignment in zip(values, assignments, strict=True):
        where = f"{one.name}:{one.line}" if one.line else one.name or one.source
        yield f"{assignment:<{width}}  # {where}"


def check_lines(file: str, gathered: Gathered) -> Iterator[str]:
    """Yield what `config check` says of a file: its problems, then what has no effect."""
    for problem in gathered.problems:
        yield problem.text
    warnings = list(gathered.warnings)
    if not gathered.problems and not gathered.config.worker_urls:
        warnings.append(f"{file}: it names no worker; a router whose list has some refuses it at a reload")
    for warning in warnings:
        yield f"warning: {warning}"
    if not gathered.problems and warnings:
        yield f"{file}: no error, {len(warnings)} warning{'s' if len(warnings) > 1 else ''}"
    elif not gathered.problems:
        yield f"{file}: nothing is wrong"


def diff_lines(changes: Iterable[ConfigChange]) -> Iterator[str]:
    """Yield a line for each change."""
    empty = True
    for change in changes:
        empty = False
        yield f"{change_text(change)}  ({CONSEQUENCES[change.needs]})"
    if empty:
        yield "no value is different"


def schema_text() -> str:
    """Return the JSON Schema of the file."""
    return json.dumps(schema({field: HELP[field][1] for field in FIELDS}), indent=2)


def _assignment(one: ShownValue) -> str:
    if one.value is None:
        return f"# {one.key} is not set ({flag_of(one.key)})"
    return f"{one.key} = {value_text(one.value)}"
