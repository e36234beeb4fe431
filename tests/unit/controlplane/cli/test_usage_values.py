"""What is said of a flag whose value is missing or wrong."""

from __future__ import annotations

import pytest

from controlplane.cli import run


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("report --since --runtime-dir /nowhere/rt", "--since needs a value; write --since TIME"),
        ("report --html --json", "--html needs a value; write --html FILE"),
        ("report --since --html=x", "--since needs a value; write --since TIME"),
        ("report --html", "--html needs a value; write --html FILE"),
        ("requests -n --json", "-n needs a value; write -n VALUE"),
        ("workers list --admin --json", "--admin needs a value; write --admin URL"),
        ("requests --limit -1", "--limit is '-1'; write a whole number from 1 to 200"),
        ("requests -n many", "--limit is 'many'; write a whole number from 1 to 200"),
        ("top --interval 0.01", "--interval is '0.01'; write a number of at least 0.2"),
    ],
)
def test_a_flag_says_what_to_write(line: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 2
    assert capsys.readouterr().err == f"routerctl: error: {expected}\n"
