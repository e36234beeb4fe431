"""docs/security.md names for each line the test that holds it, and these tests are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_line_has_a_test_that_there_is() -> None:
    heads = ("|---", "| who |", "| what |")
    lines = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(heads)]
    assert len(lines) > 25
    for line in lines:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", line)
        assert named, line
        for path, test in named:
            text = (ROOT / path).read_text()
            assert not test or f"def {test}(" in text, f"{path} has no {test}"
