"""docs/api.md lists every path of the table of routes, in its family, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from shared.errors import RouterError, error_body
from shared.routes import ROUTES

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    lines = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def test_every_path_is_on_the_page_and_no_other() -> None:
    listed = {
        (family, method, path)
        for family, paths, *_ in rows("Paths")
        for method, path in re.findall(r"`([A-Z]+) ([^`]+)`", paths)
    }
    assert listed == {
        (route.family, method, route.path.replace("...}", "}"))
        for route in ROUTES
        for method in route.methods
        if method != "HEAD"
    }


def test_the_page_says_how_statuses_are_called_in_anthropics_shape() -> None:
    listed = {
        status: kind.strip("`") for cell, kind in rows("Errors in Anthropic's shape") for status in cell.split(", ")
    }
    others = listed.pop("others")
    for status in (*listed, "500", "502", "418"):
        body = error_body(RouterError(int(status), "code", "text"), "id", "anthropic")
        assert f'"type":"{listed.get(status, others)}"'.encode() in body
