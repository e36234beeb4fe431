"""The command lines for `routerctl register` in documents and units have flags that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from controlplane.cli.register import register

ROOT = Path(__file__).parents[4]


def known_flags() -> set[str]:
    app = typer.Typer(add_completion=False)
    app.command()(register)
    return {name for parameter in typer.main.get_command(app).params for name in parameter.opts}


@pytest.mark.parametrize("path", ["docs/registration.md", "deploy/systemd/routerctl-register.service"])
def test_flags_of_examples_are_known(path: str) -> None:
    lines = [
        line for line in (ROOT / path).read_text().splitlines() if re.search(r'register[ "]|REGISTER_FLAGS="', line)
    ]
    lines = [line for line in lines if "keys new" not in line and "routerctl start" not in line]
    used = {flag for line in lines for flag in re.findall(r"--[a-z][a-z-]*", line)} - {"--now"}
    assert used
    assert used <= known_flags()


def test_every_flag_is_in_the_document() -> None:
    text = (ROOT / "docs/registration.md").read_text()
    assert not {flag for flag in known_flags() if f"`{flag}" not in text and f"{flag} " not in text} - {"--help"}
