"""Every attribute that spans have is described."""

from __future__ import annotations

import re
from pathlib import Path

from dataplane.tracing import spans

PAGE = Path(__file__).parents[2] / "docs" / "traces.md"


def test_all_attributes_are_in_the_table() -> None:
    source = Path(spans.__file__).read_text(encoding="utf-8")
    set_there = set(re.findall(r'"((?:[a-z_]+\.)+[a-z_]+)"', source))
    described = set(re.findall(r"`((?:[a-z_]+\.)+[a-z_]+)`", PAGE.read_text(encoding="utf-8")))
    assert {"http.request.method", "enduser.id"} <= set_there
    assert set_there <= described
