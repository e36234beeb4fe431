"""docs/requests.md lists every error that the router sends, and every one that its metrics count."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from shared import catalog, errors, limit_errors
from shared.errors import RouterError

PAGE = (Path(__file__).parents[2] / "docs" / "requests.md").read_text()
EXAMPLES = {"str": "x", "int": 1, "float": 1.0, "tuple[str, ...]": ("x",), "str | None": None}


def every_error() -> Iterator[RouterError]:
    """One of each: whatever function of these modules gives one, called with what it asks for."""
    functions = (inspect.getmembers(module, inspect.isfunction) for module in (errors, limit_errors))
    for _, function in chain.from_iterable(functions):
        if inspect.signature(function).return_annotation == "RouterError":
            needed = (one for one in inspect.signature(function).parameters.values() if one.default is one.empty)
            yield function(*(EXAMPLES[str(one.annotation)] for one in needed))


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the first table under a heading, without its head."""
    lines = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].splitlines()
    table = [line for line in lines if line.startswith("|")]
    for line in table[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_every_error_is_on_the_page_and_nothing_else() -> None:
    table = rows("Errors that the router itself sends")
    listed = [(status, code.strip("`"), side.strip("`")) for status, code, side, _ in table]
    assert sorted(listed) == sorted((str(error.status), error.code, error.side) for error in every_error())


def test_codes_are_told_apart() -> None:
    codes = [error.code for error in every_error()]
    assert len(codes) == len(set(codes)) > 5


def test_every_failure_that_is_counted_is_on_the_page_and_nothing_else() -> None:
    listed = {(side, code) for side, codes, _ in rows("Whose fault it was") for code in re.findall(r"`(\w+)`", codes)}
    assert listed == {tuple(labels) for labels in catalog.ERRORS.always}


def test_every_error_has_its_series_before_it_first_happens() -> None:
    assert {(error.blamed, error.code) for error in every_error()} <= set(catalog.ERRORS.always)
